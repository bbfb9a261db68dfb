"""Before anything is started: can this machine run its part of the plan? The doctor looks at other hosts."""

import shutil
from pathlib import Path

import psutil

from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.plan.model import Plan
from heteropd.topology import ports
from heteropd.topology.context import Context

_GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")


def require_startable(plan: Plan, context: Context) -> None:
    """Raise BadInput or MissingPrerequisite for the first thing that stands against starting the plan."""
    if plan.runtime == "process":
        _require_local(plan)
    ports.require_free(plan)
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
            raise BadInput(
                "plan",
                f"{role.name}.host",
                role.host.name,
                "processes are started on this machine only",
                "use runtime=docker, or start there what `make plan format=bash` prints",
            )


def _require_memory(engines: int, each_gib: float) -> None:
    needed, room = engines * each_gib, available_memory_gib()
    if room < needed:
        raise MissingPrerequisite(
            f"{engines} engines need {needed:.1f} GiB of memory and {room:.1f} GiB are available",
            "end other programs or use a larger machine",
        )


def _require_disk(folder: Path, needed_gib: float) -> None:
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    room = shutil.disk_usage(place).free / _GIB
    if room < needed_gib:
        raise MissingPrerequisite(
            f"{place} has {room:.1f} GiB free and {needed_gib:.1f} GiB are needed", "free some space there"
        )


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
