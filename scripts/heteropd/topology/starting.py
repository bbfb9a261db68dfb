"""Starting roles of a topology one after the other, each written down as soon as it runs.

A starter renders everything when it is made, so that what cannot work is refused before anything starts.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from heteropd.errors import MissingPrerequisite
from heteropd.plan.environment import (
    ENGINE_BIN,
    ENGINE_PYTHON,
    KEEPS_ENVIRONMENT,
    MODEL_DIR,
    child_argv,
    child_environment,
    places_used,
)
from heteropd.plan.model import Plan, RolePlan
from heteropd.processes import launcher, shared_memory
from heteropd.processes.launcher import Launch
from heteropd.processes.process_tree import ROLE, tag, tagged
from heteropd.topology.containers import ContainerStarter, model_dir
from heteropd.topology.context import Context
from heteropd.topology.state import StateNotWritten, Topology, save
from heteropd.topology.waiting import Waiting


class ProcessStarter:
    """Roles as processes of this machine, each in a session of its own."""

    def __init__(self, plan: Plan, context: Context, topology_id: str) -> None:
        self._context = context
        places = _places(plan, context)
        peers = [role.host.address for role in plan.roles]
        ours = {**tag(topology_id, context.state_dir), "PYTHONUNBUFFERED": "1", **KEEPS_ENVIRONMENT}
        self._launches = {}
        for role in plan.roles:
            log, tmp = context.log(role.name), context.tmp_root / role.name
            extra = {**ours, ROLE: role.name, "TMPDIR": str(tmp)}
            around = _around(role, places, context)
            env = child_environment(role.env, context.environ, around, extra, peers)
            self._launches[role.name] = Launch(role.name, child_argv(role.argv, around), env, log, tmp)

    def dropped(self) -> list[str]:
        return sorted({name for launch in self._launches.values() for name in launch.env.dropped})

    def start(self, name: str) -> Mapping[str, Any]:
        return {"process": launcher.start(self._launches[name], self._context.runner, self._context.root)}


# ``dropped()``: variables of the caller that roles do not get; ``start(role)``: what its `RoleState` becomes.
Starter = ProcessStarter | ContainerStarter


def starter(plan: Plan, context: Context, topology_id: str) -> Starter:
    """The starter for the plan's runtime. Raises BadInput and MissingPrerequisite; starts nothing."""
    kind = ContainerStarter if plan.runtime == "docker" else ProcessStarter
    return kind(plan, context, topology_id)


class Starting:
    """A topology whose roles are being started; ``topology`` is what is recorded of it.

    ``strict``: raise StateNotWritten at once; else it is kept as ``unwritten`` until a record succeeds.
    """

    def __init__(
        self, topology: Topology, context: Context, starter: Starter, *, strict: bool = True
    ) -> None:
        self.topology = topology
        self.unwritten: StateNotWritten | None = None
        self._context, self._starter, self._strict = context, starter, strict

    def start(self, name: str, waiting: Waiting) -> None:
        """Start a role. Raises what its starter raises."""
        update = {**self._starter.start(name), "started": self._context.clock.wall()}
        role = waiting.topology.role(name).model_copy(update=update)
        self.record(waiting.topology.with_role(role))
        waiting.started(self.topology, name)

    def came_up(self, waiting: Waiting, seconds: float) -> Topology:
        """Record that the topology answers, ``seconds`` after the first start."""
        pids = {process.pid for process in tagged(self._context.state_dir, self.topology.id)}
        segments = shared_memory.segments(pids.union(*(role.pids() for role in self.topology.roles)))
        update = {"phase": "up", "ready_after_s": round(seconds, 3), "segments": sorted(segments)}
        self.record(waiting.topology.model_copy(update=update))
        return self.topology

    def record(self, topology: Topology) -> None:
        """Write the state down."""
        self.topology, self.unwritten = topology, None
        try:
            save(topology, self._context.state_dir)
        except StateNotWritten as problem:
            if self._strict:
                raise
            self.unwritten = problem


def keep_previous(log: Path) -> None:
    """Put a role's log aside for the one that it is about to write."""
    with suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.stem}.previous.log"))


def _around(role: RolePlan, places: Mapping[str, str], context: Context) -> Mapping[str, str]:
    """What a role is started with: a real engine has a Python of its own."""
    if role.name == "router" or role.standin:
        return places
    if context.accelerator_python is None:
        raise MissingPrerequisite(f"the Python of {role.name} is missing", "start it with `make up`")
    return {**places, ENGINE_PYTHON: str(context.accelerator_python)}


def _places(plan: Plan, context: Context) -> Mapping[str, str]:
    """Only what the plan mentions: finding a model may take a while, and a plan may need no engine."""
    used = set().union(*(places_used(role.argv, role.env) for role in plan.roles))
    places: dict[str, str] = {}
    if used & {ENGINE_PYTHON, ENGINE_BIN}:
        if context.engine_python is None or not context.engine_python.exists():
            problem = f"the engines' Python ({context.engine_python}) is missing"
            raise MissingPrerequisite(problem, "run `make setup`")
        places[ENGINE_PYTHON] = str(context.engine_python)
        places[ENGINE_BIN] = str(context.engine_python.parent)
    if MODEL_DIR in used:
        places[MODEL_DIR] = str(model_dir(plan, context))
    return places
