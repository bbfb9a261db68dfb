"""Before anything is started: can this machine run its part of the plan? The doctor looks at other hosts."""

import errno
import shutil
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.plan.model import Plan, RolePlan
from heteropd.topology.context import Context

_GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")


def require_startable(plan: Plan, context: Context) -> None:
    """Raise BadInput or MissingPrerequisite for the first thing that stands against starting the plan."""
    if plan.runtime == "process":
        _require_local(plan)
    require_free(plan)
    here = [role for role in plan.roles_here if role.role != "router"]
    _require_memory(len(here), context.memory_gib)
    _require_disk(context.state_dir, context.disk_gib)


def available_memory_gib() -> float:
    """Memory that new processes can have, in GiB: the machine's, or what a container's limit leaves."""
    room = psutil.virtual_memory().available
    limit, current = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None and current is not None:
        room = min(room, max(limit - current, 0))
    return float(room) / _GIB


def _require_local(plan: Plan) -> None:
    for role in plan.roles:
        if role.host.ssh is not None:
            problem = "processes are started on this machine only"
            fix = "use runtime=docker, or start there what `make plan format=bash` prints"
            raise BadInput("plan", f"{role.name}.host", role.host.name, problem, fix)


def _require_memory(engines: int, each_gib: float) -> None:
    needed, room = engines * each_gib, available_memory_gib()
    if room < needed:
        problem = f"{engines} engines need {needed:.1f} GiB of memory and {room:.1f} GiB are available"
        raise MissingPrerequisite(problem, "end other programs or use a larger machine")


def _require_disk(folder: Path, needed_gib: float) -> None:
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    room = shutil.disk_usage(place).free / _GIB
    if room < needed_gib:
        problem = f"{place} has {room:.1f} GiB free and {needed_gib:.1f} GiB are needed"
        raise MissingPrerequisite(problem, "free some space there")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


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


def ports_in_use(roles: Iterable[RolePlan]) -> list[PortInUse]:
    """Those ports of the roles that are not free."""
    return [
        PortInUse(role, name, number)
        for role in roles
        for name, number in role.ports.all().items()
        if not free(number)
    ]


def described(ports: Sequence[PortInUse]) -> list[str]:
    """Each with its holder."""
    return [f"{port.role.name}'s {port.name} port {port.number} by {holder(port.number)}" for port in ports]


def require_free(plan: Plan) -> None:
    """Raise BadInput, naming each port in use and its holder, unless the plan's are free on this machine."""
    busy = ports_in_use(plan.roles_here)
    if not busy:
        return
    first = busy[0]
    another = f"choose another port ({_PARAMETER[first.role.role]}=…), " if first.name == "api" else ""
    problem = "; ".join([f"in use by {holder(first.number)}", *described(busy[1:])])
    fix = f"end it, or {another}move all of them (port_offset=1000)"
    raise BadInput("plan", f"{first.role.name}.ports.{first.name}", first.number, problem, fix)
