"""TCP ports: whether one is free, and if not, whose it is."""

import errno
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

from heteropd.errors import BadInput
from heteropd.plan.model import Plan, RolePlan

_PARAMETER = {"prefill": "prefill_port", "decode": "decode_port", "router": "port"}


@dataclass(frozen=True)
class PortInUse:
    """A port of a role that something has already; ``name`` is what the role has it for."""

    role: RolePlan
    name: str
    number: int


def free(port: int) -> bool:
    """True when a server could listen on the port on every address of this machine, of IPv4 and IPv6."""
    return _bindable(socket.AF_INET, "0.0.0.0", port) and _bindable(socket.AF_INET6, "::", port)  # noqa: S104


def _bindable(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as problem:  # a machine without IPv6 has nobody on it either
        return family == socket.AF_INET6 and problem.errno not in (errno.EADDRINUSE, errno.EACCES)
    return True


def holder(port: int) -> str:
    """The process that has the port, as far as the system lets us see."""
    try:
        found = [seen for seen in psutil.net_connections("tcp") if seen.laddr and seen.laddr.port == port]
        found.sort(key=lambda seen: seen.status != psutil.CONN_LISTEN)
        pid = next((seen.pid for seen in found if seen.pid), None)
    except psutil.Error:
        pid = None
    if pid is None:
        return "a process that this user may not see"
    try:
        process = psutil.Process(pid)
        return f"{process.name() or 'a process'} (pid {pid}, user {process.username()})"
    except psutil.Error:
        return f"a process (pid {pid})"


def used(roles: Iterable[RolePlan]) -> list[PortInUse]:
    """Those ports of the roles that are not free."""
    return [
        PortInUse(role, name, number)
        for role in roles
        for name, number in role.ports.all().items()
        if not free(number)
    ]


def in_words(ports: Sequence[PortInUse]) -> list[str]:
    """Each with its holder."""
    return [f"{port.role.name}'s {port.name} port {port.number} by {holder(port.number)}" for port in ports]


def require_free(plan: Plan) -> None:
    """Raise BadInput, naming each port in use and its holder, unless the plan's are free on this machine."""
    busy = used(plan.roles_here)
    if not busy:
        return
    first = busy[0]
    another = f"choose another port ({_PARAMETER[first.role.role]}=…), " if first.name == "api" else ""
    raise BadInput(
        "plan",
        f"{first.role.name}.ports.{first.name}",
        first.number,
        "; ".join([f"in use by {holder(first.number)}", *in_words(busy[1:])]),
        f"end it, or {another}move all of them (port_offset=100)",
    )
