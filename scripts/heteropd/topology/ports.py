"""TCP ports: whether one is free, and if not, whose it is."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from heteropd.errors import BadInput
from heteropd.plan.model import Plan, RolePlan

_PARAMETER = {"prefill": "prefill_port", "decode": "decode_port", "router": "port"}


@dataclass(frozen=True)
class Holder:
    """Who has a port, as far as the system lets us see."""

    pid: int | None = None
    name: str | None = None
    user: str | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return "a process that this user may not see"
        return f"{self.name or 'a process'} (pid {self.pid}{f', user {self.user}' if self.user else ''})"


def free(port: int) -> bool:
    """True when a server could listen on the port on every address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def holder(port: int) -> Holder:
    """The process that has the port; an empty Holder when it cannot be seen."""
    try:
        found = [one for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == port]
    except psutil.Error:
        return Holder()
    found.sort(key=lambda one: one.status != psutil.CONN_LISTEN)
    pid = next((one.pid for one in found if one.pid), None)
    if pid is None:
        return Holder()
    try:
        process = psutil.Process(pid)
        return Holder(pid, process.name(), process.username())
    except psutil.Error:
        return Holder(pid)


def used(roles: Iterable[RolePlan]) -> list[tuple[RolePlan, str, int]]:
    """Those ports of the roles that are not free, as (role, name of the port, number)."""
    return [(role, name, port) for role in roles for name, port in role.ports.all().items() if not free(port)]


def require_free(plan: Plan) -> None:
    """Raise BadInput, naming each port in use and its holder, unless the plan's are free on this machine."""
    busy = used(plan.roles_here)
    if not busy:
        return
    role, name, port = busy[0]
    others = [f"{one.name}'s {kind} port {number} by {holder(number)}" for one, kind, number in busy[1:]]
    fix = f"end it, or choose another port ({_PARAMETER[role.role]}=…)" if name == "api" else "end it"
    raise BadInput(
        "plan",
        f"{role.name}.ports.{name}",
        port,
        "; ".join([f"in use by {holder(port)}", *others]),
        fix,
    )
