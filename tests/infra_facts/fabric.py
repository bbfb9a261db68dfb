"""RDMA as programs show it: ports (`ibv_devinfo`), kernel modules, UCX's transports (`ucx_info -d`). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from heteropd import ucx

_FIELD = re.compile(r"^\s*([\w.]+):\s+(.*?)\s*$")
_NUMBER = re.compile(r"\d+")
_OFFERED = re.compile(r"^#\s*Transport:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Port:
    """One port: ``mlx5_0:1``, PORT_ACTIVE, its active MTU in bytes, Ethernet or InfiniBand."""

    name: str
    state: str
    active_mtu: int
    link_layer: str
    lid: int = 0


def parse_ports(devinfo: str) -> list[Port]:
    """Ports in the output of ``ibv_devinfo``."""
    listed: list[tuple[str, dict[str, str]]] = []
    device = ""
    for line in devinfo.splitlines():
        match = _FIELD.match(line)
        if match is None:
            continue
        key, value = match.groups()
        if key == "hca_id":
            device = value
        elif key == "port":
            listed.append((f"{device}:{value}", {}))
        elif listed:
            listed[-1][1][key] = value
    return [_port(name, fields) for name, fields in listed]


def port_problems(name: str, ports: Mapping[str, Port], least_mtu: int) -> Iterator[str]:
    """What keeps a port from carrying KV: no driver in user space, down, no LID, an MTU (bytes) too small."""
    port = ports.get(name)
    if port is None:
        yield f"{name}: ibv_devinfo does not list it (it lists {', '.join(ports) or 'none'})"
        return
    if port.state != "PORT_ACTIVE":
        yield f"{name}: {port.state or 'no state'}, PORT_ACTIVE wanted"
        return
    if port.link_layer not in ("Ethernet", "InfiniBand"):
        yield f"{name}: link layer {port.link_layer or 'unknown'}, Ethernet or InfiniBand wanted"
    if port.link_layer == "InfiniBand" and not port.lid:
        yield f"{name}: LID 0, for no subnet manager has configured the port"
    if port.active_mtu < least_mtu:
        yield f"{name}: active MTU {port.active_mtu} bytes, at least {least_mtu} wanted"


def kernel_modules(devices: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Kernel modules that devices need, as far as their names tell; ``ib_uverbs`` always."""
    drivers = [module for device in devices for prefix, module in known.items() if device.startswith(prefix)]
    return ["ib_uverbs", *dict.fromkeys(drivers)]


def offered_transports(ucx_info: str) -> frozenset[str]:
    """Transports in the output of ``ucx_info -d``."""
    return frozenset(_OFFERED.findall(ucx_info))


def missing_transports(environment: Mapping[str, str], offers: Iterable[str]) -> Iterator[str]:
    """A line for each word of UCX_TLS that leads to none of the transports that UCX offers."""
    named, available = ucx.transports(environment), frozenset(offers)
    shown = ", ".join(sorted(available)) or "nothing"
    for word in named.words if named.mode == "named" else ():
        wanted = frozenset(ucx.expand(word))
        if not wanted & available:
            stands = "" if wanted == {word} else f" ({', '.join(sorted(wanted))})"
            yield f"UCX_TLS names {word}{stands}, and ucx_info -d lists {shown}"


def _port(name: str, fields: Mapping[str, str]) -> Port:
    return Port(
        name,
        state=fields.get("state", "").partition(" ")[0],
        active_mtu=_number(fields.get("active_mtu", "")),
        link_layer=fields.get("link_layer", ""),
        lid=_number(fields.get("port_lid", "")),
    )


def _number(text: str) -> int:
    match = _NUMBER.match(text)
    return int(match[0]) if match else 0
