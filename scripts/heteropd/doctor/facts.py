"""A host's facts, read by one command and parsed into plain data."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from heteropd.doctor.shells import Reader
from heteropd.system import Clock, SystemClock

_TIMEOUT_S = 60.0
_CAP_IPC_LOCK = 14


@dataclass(frozen=True)
class Gid:
    """One GID of a port. ``kind`` is ``RoCE v2`` or ``IB/RoCE v1``."""

    index: int
    address: ipaddress.IPv6Address
    kind: str
    interface: str


@dataclass(frozen=True)
class IbPort:
    """A port of an InfiniBand or RoCE device; ``state`` as the kernel says it: ``4: ACTIVE``.

    ``interface``: the network interface on it, empty where it has none or the kernel does not say it.
    """

    name: str
    state: str
    link_layer: str
    gids: tuple[Gid, ...] = ()
    interface: str = ""

    @property
    def active(self) -> bool:
        return self.state.endswith("ACTIVE")


@dataclass(frozen=True)
class Memlock:
    """How much memory a process may lock: bytes, or None for no limit. ``who``: ``shell`` or a pid."""

    who: str
    limit: int | None
    ipc_lock: bool = False

    @property
    def enough(self) -> bool:
        return self.limit is None or self.ipc_lock  # the kernel does not count with CAP_IPC_LOCK


@dataclass(frozen=True)
class Docker:
    """Its socket is ``there``, ``denied`` to this user, or ``absent``; ``version`` where it answered."""

    socket: str
    version: str = ""


@dataclass(frozen=True)
class Facts:
    """What a host said. ``trouble`` is why nothing was read; None values are what could not be read.

    ``software``: RDMA devices without a card. ``ahead``: by how many seconds this host's clock is ahead of
    ours, at least and at most. ``tcp_retries``: how often the kernel sends unanswered data again before it
    gives a connection up. ``model_is`` tells one model from another. ``interfaces``: addresses by interface.
    ``reached``: the host's address at which ssh arrived.
    """

    trouble: str | None = None
    kernel: str = ""
    root: bool = False
    verbs: dict[str, bool] = field(default_factory=dict)
    ports: tuple[IbPort, ...] = ()
    software: frozenset[str] = frozenset()
    mtus: dict[str, int] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()
    interfaces: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reached: str | None = None
    listening: frozenset[int] | None = None
    memlock: tuple[Memlock, ...] = ()
    modules: frozenset[str] = frozenset()
    nvidia: str | None = None
    accel: dict[str, bool] = field(default_factory=dict)
    holders: tuple[tuple[str, str], ...] = ()
    gpus: tuple[str, ...] | None = None
    gpu_apps: tuple[str, ...] = ()
    hpus: tuple[str, ...] | None = None
    memory_gib: float | None = None
    disk_gib: float | None = None
    disk_place: str = ""
    shm_gib: float | None = None
    model: str | None = None
    model_is: str | None = None
    ahead: tuple[float, float] | None = None
    tcp_retries: int | None = None
    docker: Docker | None = None


def read(reader: Reader, model: str = "", root: str = "", clock: Clock | None = None) -> Facts:
    """Read a host's facts. Never raises: a host that does not answer says so in ``trouble``."""
    script = (Path(__file__).parent / "probe.sh").read_text(encoding="utf-8")
    clock = clock or SystemClock()
    before = clock.wall().timestamp()
    done = reader.run(["sh", "-c", script, "probe", root, model], timeout_s=_TIMEOUT_S)
    if "\nend" in done.out:
        try:
            return parse(done.out, before, clock.wall().timestamp())
        except (ValueError, IndexError) as bad:
            return Facts(trouble=f"the probe's output is not understood ({bad})")
    problem = " ".join(done.err.split()) or "the probe ended early"
    return Facts(trouble=f"{problem[-200:]} (exit status {done.code})")


def parse(text: str, before: float = 0.0, after: float = 0.0) -> Facts:
    """Facts from the probe's lines; pure. ``before`` and ``after``: our clock around the probe."""
    rows: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        key, *values = line.split("\t")
        rows.setdefault(key, []).append(values)

    def first(key: str) -> str | None:
        return (rows[key][0] or [""])[0] or None if key in rows else None

    def texts(key: str) -> tuple[str, ...]:
        return tuple(row[0] for row in rows.get(key, []) if row and row[0])

    return Facts(
        kernel=first("kernel") or "",
        root=first("uid") == "0",
        verbs={row[0]: row[1] == "yes" for row in rows.get("verbs", [])},
        ports=_ports(rows),
        mtus={row[0]: int(row[1]) for row in rows.get("mtu", []) if row[1].isdigit()},
        addresses=frozenset([*texts("address"), *(_address6(digits) for digits in texts("address6"))]),
        interfaces=_interfaces(rows),
        reached=first("ssh"),
        listening=frozenset(_listening(socket) for socket in texts("listen")) if "sockets" in rows else None,
        memlock=tuple(memlock(row) for row in rows.get("memlock", []) if row[1]),
        modules=frozenset(texts("module")),
        nvidia=first("nvidia"),
        accel={row[0]: row[1] == "yes" for row in rows.get("accel", [])},
        holders=tuple((row[0], row[1]) for row in rows.get("holder", [])),
        gpus=texts("gpu") if "gpu" in rows else None,
        gpu_apps=texts("app"),
        hpus=texts("hpu") if "hpu" in rows else None,
        memory_gib=_gib(first("memory_kib")),
        disk_gib=_gib(first("disk_kib")),
        disk_place=(rows.get("disk_kib") or [["", ""]])[0][-1],
        shm_gib=_gib(first("shm_kib")),
        model=first("model"),
        model_is=first("model_is"),
        software=frozenset(row[0] for row in rows.get("ibdev", []) if _without_card(*row)),
        ahead=_ahead(texts("clock"), before, after),
        tcp_retries=int(retries) if (retries := first("tcp_retries") or "").isdigit() else None,
        docker=Docker(*rows["docker"][0]) if "docker" in rows else None,
    )


def _ports(rows: dict[str, list[list[str]]]) -> tuple[IbPort, ...]:
    gids: dict[str, list[Gid]] = {}
    for device, port, index, address, kind, interface in rows.get("gid", []):
        gids.setdefault(f"{device}:{port}", []).append(
            Gid(int(index), ipaddress.IPv6Address(address), kind, interface)
        )
    named = [(f"{row[0]}:{row[1]}", *row) for row in rows.get("port", [])]
    return tuple(
        IbPort(name, state, link, tuple(gids.get(name, ())), _interface(name, gids.get(name, []), rows))
        for name, _, _, state, link in named
    )


def _interface(name: str, gids: list[Gid], rows: dict[str, list[list[str]]]) -> str:
    """Of a RoCE port its GIDs name it. InfiniBand's is below the device, with the port's number less one."""
    device, _, port = name.partition(":")
    named = [gid.interface for gid in gids if gid.interface]
    below = [row for row in rows.get("ibnet", []) if row[0] == device]
    ports = [row for row in rows.get("port", []) if row[0] == device]
    named += [net for _, net, number in below if len(ports) == 1 or number == str(int(port) - 1)]
    return named[0] if named else ""


def _interfaces(rows: dict[str, list[list[str]]]) -> dict[str, tuple[str, ...]]:
    """IPv4 first. Without the program ``ip`` there, IPv4 addresses are known only of RoCE's interfaces."""
    pairs = [(row[0], row[1]) for row in rows.get("inet", [])]
    mapped = [(row[5], ipaddress.IPv6Address(row[3]).ipv4_mapped) for row in rows.get("gid", []) if row[5]]
    pairs += [(interface, str(address)) for interface, address in mapped if address]
    pairs += [(row[1], _address6(row[0])) for row in rows.get("address6", []) if len(row) > 1]
    addresses: dict[str, list[str]] = {}
    for interface, address in pairs:
        if address not in addresses.setdefault(interface, []):
            addresses[interface].append(address)
    return {interface: tuple(several) for interface, several in addresses.items()}


def _without_card(name: str, place: str, description: str) -> bool:
    # Soft-RoCE and soft-iWARP: virtual devices, or named after what they are.
    return "/devices/virtual/" in place or description == "rxe" or name.startswith(("rxe", "siw"))


def _ahead(clocks: tuple[str, ...], before: float, after: float) -> tuple[float, float] | None:
    # Read first and last on the host, so that the way there and back is all that is uncertain.
    if len(clocks) != 2 or not all(re.fullmatch(r"\d+(\.\d+)?", clock) for clock in clocks):
        return None
    return float(clocks[1]) - after, float(clocks[0]) - before


def memlock(row: list[str]) -> Memlock:
    """Of whom, the limit as /proc/PID/limits shows it, and CapEff of /proc/PID/status."""
    capabilities = int(row[2] or "0", 16)
    limit = None if row[1] == "unlimited" else int(row[1])
    return Memlock(row[0], limit, bool(capabilities >> _CAP_IPC_LOCK & 1))


def _address6(digits: str) -> str:
    return str(ipaddress.IPv6Address(int(digits, 16)))


def _listening(local: str) -> int:
    return int(local.rpartition(":")[2], 16)


def _gib(kib: str | None) -> float | None:
    return int(kib) / 2**20 if kib and kib.isdigit() else None
