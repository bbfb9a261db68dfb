"""From a node's facts to its entry in a hosts file: which address, card and accelerators, and why. Pure."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from heteropd.config.types import PlatformName
from heteropd.doctor.facts import Facts, IbPort
from heteropd.errors import KitError

# Bridges and tunnels of container engines and clusters: every host has the same addresses on them.
_INSIDE = re.compile(r"(docker|br-|veth|virbr|lxc|lxd|cni|flannel|cali|cilium|tunl|podman|kube|nerdctl)")
# The ports of Gaudi cards themselves: they join cards to each other, and carry no KV of NIXL.
_OF_CARDS = "hbl_"


@dataclass(frozen=True)
class Entry:
    """A node's entry. ``remarks``: lines of comment by field; ``host`` for those about the whole."""

    name: str
    ssh: str
    platforms: tuple[PlatformName, ...]
    address: str
    management: str | None
    devices: tuple[int, ...]
    nics: tuple[str, ...]
    remarks: dict[str, list[str]] = field(default_factory=dict)


def entry(name: str, ssh: str, facts: Facts) -> Entry:
    """The entry of a node that answered. Raises KitError where it has no address for its peers."""
    remarks: dict[str, list[str]] = {"host": _about(facts)}
    platforms, devices = _cards(facts, remarks["host"])
    candidates = _addresses(facts)
    port = _port(facts, candidates)
    address, why = _address(ssh, facts, port, candidates)
    others = [
        f"{interface or '?'} {candidate}"
        for interface, several in candidates.items()
        for candidate in several
        if candidate != address
    ]
    # A host without accelerators runs the router or stand-ins, which use neither RDMA nor locked memory.
    doubtful = platforms and not (port and port.interface in candidates)
    remarks["address"] = [f"{'check: ' if doubtful else ''}{why}"]
    remarks["address"] += [f"others: {', '.join(others)}"] if others else []
    reached = facts.reached if _for_peers(facts.reached) and facts.reached != address else None
    if reached:
        remarks["management"] = ["where ssh arrived: for health checks and requests"]
    remarks["nics"] = _about_ports(facts, port) if platforms or port else []
    remarks["host"] += _about_memlock(facts) if platforms else []
    return Entry(
        name=name,
        ssh=ssh,
        platforms=platforms,
        address=address,
        management=reached,
        devices=devices,
        nics=(port.name,) if port else (),
        remarks=remarks,
    )


def _about(facts: Facts) -> list[str]:
    sizes = ((facts.memory_gib, "memory"), (facts.disk_gib, f"disk at {facts.disk_place}"))
    free = [f"{size:.0f} GiB of {what} free" for size, what in sizes if size is not None]
    docker = facts.docker
    engine = f", {docker.product} {docker.version}" if docker and docker.version else ""
    lines = [f"Linux {facts.kernel}{engine}; {', '.join(free) or 'memory and disk could not be read'}"]
    socket = docker.socket if docker else "absent"
    if socket == "absent":
        lines.append("check: no Docker at /var/run/docker.sock; containers cannot be started here")
    elif socket == "denied":
        lines.append("check: this user may not use /var/run/docker.sock; add it to the group docker")
    elif not engine:
        lines.append(
            "check: /var/run/docker.sock is there, but nothing that is understood answered through it"
        )
    return lines


def _about_memlock(facts: Facts) -> list[str]:
    shells = [memlock for memlock in facts.memlock if memlock.who == "shell"]
    low = [(memlock.limit or 0) // 1024 for memlock in shells if not memlock.enough]
    return [
        f"check: a shell here may lock {kib} KiB of memory; RDMA needs more (containers have their own limit)"
        for kib in low
    ]


def _cards(facts: Facts, remarks: list[str]) -> tuple[tuple[PlatformName, ...], tuple[int, ...]]:
    """What the node computes on, and its cards' numbers."""
    platforms: list[PlatformName] = []
    devices: tuple[int, ...] = ()
    accel = [name for name in facts.accel if "controlD" not in name]
    kinds: list[tuple[PlatformName, str, list[str]]] = [
        ("cuda", "nvidia-smi", [facts.nvidia] if facts.nvidia else []),
        ("gaudi", "hl-smi", accel),
    ]
    for platform, tool, driver in kinds:
        listed = facts.cards.get(platform)
        if listed and listed.cards:
            platforms.append(platform)
            devices = tuple(card.index for card in listed.cards)
            names = dict.fromkeys(card.name for card in listed.cards)
            remarks.append(f"{len(devices)} of {', '.join(names)}")
            remarks += [f"check: {tool} also printed: {listed.trouble}"] if listed.trouble else []
        elif driver:
            platforms.append(platform)
            state = "is missing" if listed is None else f"lists no card ({listed.trouble[:100]})"
            remarks.append(f"check: the driver is loaded ({', '.join(driver)[:100]}), but {tool} {state}")
    if not platforms:
        remarks.append("no accelerator was found")
    if len(platforms) > 1:
        remarks.append("check: both kinds of accelerators; give one of them to another host")
        devices = ()
    return tuple(platforms), devices


def _addresses(facts: Facts) -> dict[str, tuple[str, ...]]:
    """What peers can connect to, by interface; "" for addresses of unknown interfaces."""
    named = {address for several in facts.interfaces.values() for address in several}
    everywhere = {**facts.interfaces, "": tuple(sorted(facts.addresses - named))}
    usable = {
        interface: tuple(filter(_for_peers, several))
        for interface, several in everywhere.items()
        if not _INSIDE.match(interface)
    }
    return {interface: several for interface, several in usable.items() if several}


def _for_peers(address: str | None) -> bool:
    if not address:
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified)


def _port(facts: Facts, candidates: dict[str, tuple[str, ...]]) -> IbPort | None:
    """The first active port; those whose interface has an address go first, software's last."""
    ports = [port for port in facts.ports if port.active and not port.name.startswith(_OF_CARDS)]
    return min(ports, key=lambda port: (_soft(port, facts), port.interface not in candidates), default=None)


def _soft(port: IbPort, facts: Facts) -> bool:
    return port.name.partition(":")[0] in facts.software


def _address(
    ssh: str, facts: Facts, port: IbPort | None, candidates: dict[str, tuple[str, ...]]
) -> tuple[str, str]:
    """The address that peers are to use, and why."""
    if port and port.interface in candidates:
        link = "RoCE" if port.link_layer == "Ethernet" else port.link_layer
        return candidates[port.interface][0], f"{port.interface} of {port.name}, an active {link} port"
    lacking = f"the interface of {port.name} has no address" if port else "no RDMA port is active"
    if facts.reached and _for_peers(facts.reached):
        return facts.reached, f"{lacking}, so this is where ssh arrived"
    if candidates:
        interface, several = next(iter(candidates.items()))
        where = interface or "interface unknown"
        return several[0], f"{lacking}, so this is the first address ({where})"
    raise KitError(f"{ssh}: has no address that other hosts could connect to; nothing was written")


def _about_ports(facts: Facts, chosen: IbPort | None) -> list[str]:
    ports = [port for port in facts.ports if not port.name.startswith(_OF_CARDS)]
    others = [port for port in ports if port != chosen]
    if chosen is None:
        inactive = _listed(others, "; there are: ")
        return [f"check: no active RDMA port, so KV could go over TCP only{inactive}"]
    lines = []
    if _soft(chosen, facts):
        lines.append("check: a software RDMA device, not a card")
    if closed := [name for name, opens in facts.verbs.items() if not opens]:
        lines.append(f"check: this user cannot open {', '.join(closed)}")
    lines.append(f"{chosen.name} alone" + _listed(others, "; others, for more lanes: "))
    return lines if others or len(lines) > 1 else []


def _listed(ports: Sequence[IbPort], words: str) -> str:
    shown = [f"{port.name} {port.state.partition(': ')[2]} ({port.interface or '-'})" for port in ports]
    return f"{words}{', '.join(shown)}" if shown else ""
