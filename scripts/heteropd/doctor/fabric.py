"""T2: verbs devices, ports, GIDs, locked memory, and the way between network card and accelerator."""

import re
from collections.abc import Sequence

from heteropd import ucx
from heteropd.doctor.facts import IbPort, Memlock
from heteropd.doctor.model import ExaminedHost, Outcome

GID_INDEX = "UCX_IB_GID_INDEX"
_ROCE = "RoCE v2"
_DMABUF_KERNEL = (5, 12)


def used_ports(host: ExaminedHost) -> list[IbPort]:
    """The active ports that UCX may use: those that UCX_NET_DEVICES names, or all."""
    names = named_ports(host)
    return [port for port in host.facts.ports if port.active and (names is None or port.name in names)]


def named_ports(host: ExaminedHost) -> list[str] | None:
    """What UCX_NET_DEVICES names, less network interfaces, which are for TCP; None where it is not set."""
    if not host.target.net_devices:
        return None
    return [name for name in host.target.net_devices if name not in host.facts.mtus]


def is_software(host: ExaminedHost, port: IbPort) -> bool:
    """RDMA without a card: rxe, siw."""
    return port.name.partition(":")[0] in host.facts.software


def gid_index(host: ExaminedHost, port: IbPort) -> int | None:
    """The GID to use: as the plan says, else the first of RoCE v2, one that can be routed before others."""
    if port.link_layer != "Ethernet":
        return None
    for _, index in _planned_gids(host):
        return index
    good = [gid for gid in port.gids if gid.kind == _ROCE]
    good.sort(key=lambda gid: (gid.address.is_link_local, gid.index))
    return good[0].index if good else None


def unfit(host: ExaminedHost) -> str | None:
    """What is wrong with RDMA on a host, by the first check that fails; None where nothing is known to be."""
    for check in (net_devices, verbs_devices, memlock, roce_gid, planned_gid):
        outcome = check(host)
        if outcome.status == "FAIL":
            return outcome.text
    return None


def hangs(host: ExaminedHost) -> str | None:
    """Why UCX is not started on a host: with verbs and little locked memory it tries to allocate for ever."""
    limit = memlock(host)
    return f"not tried: {limit.text}" if host.verbs and limit.status == "FAIL" else None


def without_rdma(host: ExaminedHost) -> str | None:
    """An engine whose UCX_TLS names no RDMA, though UCX_NET_DEVICES names ports: UCX cannot use them."""
    ports = named_ports(host)
    for engine in host.target.engines:
        named = engine.env.get(ucx.TLS)
        if ports and named and not engine.verbs:
            return f"UCX_TLS={named} of {engine.name} names no RDMA, UCX_NET_DEVICES names {', '.join(ports)}"
    return None


def net_devices(host: ExaminedHost) -> Outcome:
    """Named ports exist and are active; without names, one is."""
    known = {port.name: port for port in host.facts.ports}
    shown = _shown(host.facts.ports)
    if not known:
        return Outcome("FAIL", "this host has no InfiniBand or RoCE device (/sys/class/infiniband is empty)")
    names = named_ports(host)
    if names == []:
        return Outcome("FAIL", f"UCX_NET_DEVICES names no InfiniBand port, and there are {shown}")
    for name in names or []:
        if name not in known:
            return Outcome("FAIL", f"UCX_NET_DEVICES names {name}, and there are {shown}")
        if not known[name].active:
            return Outcome("FAIL", f"UCX_NET_DEVICES names {name}, which is {known[name].state}")
    if not used_ports(host):
        return Outcome("FAIL", f"no port is ACTIVE: {shown}")
    return Outcome("PASS", shown)


def verbs_devices(host: ExaminedHost) -> Outcome:
    """Devices are there, and those of the named ports can be opened."""
    verbs, names = host.facts.verbs, named_ports(host)
    if not verbs and not host.facts.ports:
        return Outcome("SKIP", "this host has no InfiniBand or RoCE device that could be opened")
    if not verbs:
        return Outcome("FAIL", "/dev/infiniband has no uverbs device")
    rdma_devices = {name.partition(":")[0] for name in names or []}
    devices = {port.name.partition(":")[0] for port in host.facts.ports}
    if names and devices and devices.isdisjoint(rdma_devices):
        return Outcome("SKIP", f"there is no port {', '.join(names)} to open: T2-09-net-devices says more")
    used = [name for name in verbs if not names or host.facts.verbs_of.get(name, "") in {"", *rdma_devices}]
    closed = [name for name in used if not verbs[name]]
    if closed:
        return Outcome("FAIL", f"this user cannot open {', '.join(closed)}")
    if not used:
        named = ", ".join(names or [])
        return Outcome("FAIL", f"no verbs device is of {named}: there are {', '.join(verbs)}")
    return Outcome("PASS", f"opened {', '.join(used)}")


def memlock(host: ExaminedHost) -> Outcome:
    """The limit that counts is the engine's own; a shell's says little about a container's.

    Other engines than the plan's may have any limit.
    """
    ours = host.target.serves or not host.target.roles
    engines = [limit for limit in host.facts.memlock if ours and limit.who != "shell"]
    if engines:
        low = [limit for limit in engines if not limit.enough]
        text = ", ".join(f"pid {limit.who}: {_limit(limit)}" for limit in low or engines)
        return Outcome.judged(not low, text)
    shell = next(iter(host.facts.memlock), None)
    if shell is None:
        return Outcome("WARN", "the limit could not be read")
    text = f"shell: {_limit(shell)}"
    if host.target.docker and not shell.enough:
        return Outcome("WARN", f"{text}; a container's own limit is seen when its engine runs")
    return Outcome.judged(shell.enough, text)


def roce_gid(host: ExaminedHost) -> Outcome:
    """Each Ethernet port in use has a RoCE v2 GID that is not link-local."""
    ports = used_ports(host)
    ethernet = [port for port in ports if port.link_layer == "Ethernet"]
    if not ports:
        return Outcome("SKIP", "no active port to look at")
    if not ethernet:
        return Outcome("SKIP", "the ports in use are InfiniBand, which has no RoCE GIDs")
    shown = []
    for port in ethernet:
        good = [gid for gid in port.gids if gid.kind == _ROCE and not gid.address.is_link_local]
        if not good:
            kinds = ", ".join(f"{gid.address} ({gid.kind or 'unknown kind'})" for gid in port.gids)
            # Link-local RoCE v2 reaches a peer on the same link, so it is not wrong for sure.
            linked = any(gid.kind == _ROCE for gid in port.gids)
            return Outcome("WARN" if linked else "FAIL", f"{port.name} has only {kinds or 'no GID'}")
        shown.append(f"{port.name}: {good[0].address.ipv4_mapped or good[0].address}")
    return Outcome("PASS", ", ".join(shown))


def planned_gid(host: ExaminedHost) -> Outcome:
    """The index that a plan names is set on every port in use, and of RoCE v2 on Ethernet."""
    planned, ports = _planned_gids(host), used_ports(host)
    if not planned:
        return Outcome("SKIP", f"no engine here sets {GID_INDEX}")
    if not ports:
        return Outcome("SKIP", "no active port to look at")
    shown = []
    for engine, index in planned:
        for port in ports:
            gid = next((gid for gid in port.gids if gid.index == index), None)
            if gid is None:
                return Outcome("FAIL", f"{engine}: GID {index} of {port.name} is not set")
            if port.link_layer == "Ethernet" and gid.kind != _ROCE:
                return Outcome("FAIL", f"{engine}: GID {index} of {port.name} is {gid.kind or 'of no kind'}")
            shown.append(f"{port.name} {index}: {gid.address.ipv4_mapped or gid.address}")
    return Outcome("PASS", ", ".join(shown))


def gpudirect(host: ExaminedHost) -> Outcome:
    """Peer memory is loaded; or dmabuf is possible, which the driver shows only to who opens the GPU."""
    facts = host.facts
    if facts.modules:
        return Outcome("PASS", f"{', '.join(sorted(facts.modules))} is loaded")
    if facts.nvidia is None:
        return Outcome("SKIP", "NVIDIA's kernel driver is not loaded")
    kernel, release = f"Linux {facts.kernel}", tuple(map(int, re.findall(r"\d+", facts.kernel)[:2]))
    if "Open Kernel Module" in facts.nvidia and release >= _DMABUF_KERNEL:
        return Outcome("WARN", f"open kernel module on {kernel}: dmabuf should work, not tried here")
    return Outcome("FAIL", f"nvidia_peermem is not loaded, and {facts.nvidia} on {kernel} has no dmabuf")


def _planned_gids(host: ExaminedHost) -> list[tuple[str, int]]:
    # "auto" is UCX's default.
    planned = [(engine.name, engine.env.get(GID_INDEX, "")) for engine in host.target.engines]
    return [(name, int(index)) for name, index in planned if index.isdigit()]


def _shown(ports: Sequence[IbPort]) -> str:
    return ", ".join(f"{port.name} {port.state.partition(': ')[2]} {port.link_layer}" for port in ports)


def _limit(allowed: Memlock) -> str:
    if allowed.limit is None:
        return "unlimited"
    kib = f"{allowed.limit / 1024:g} KiB"
    return f"{kib}, not counted with CAP_IPC_LOCK" if allowed.ipc_lock else kib
