"""How a plan's roles are started: as processes of this machine, or as containers of their hosts' Docker.

A starter renders everything when it is made, so that what cannot work is refused before anything starts.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from heteropd.errors import MissingPrerequisite
from heteropd.plan.environment import ENGINE_BIN, ENGINE_PYTHON, MODEL_DIR, places_used
from heteropd.plan.model import Plan
from heteropd.processes import launcher
from heteropd.processes.launcher import Launch, Surroundings
from heteropd.processes.process_tree import tag
from heteropd.topology.containers import ContainerStarter
from heteropd.topology.context import Context
from heteropd.topology.models import model_dir


class Starter(Protocol):
    """Starts roles by name."""

    @property
    def docker_hosts(self) -> list[str]:
        """Addresses of Docker hosts, where there are any."""
        ...

    def dropped(self) -> list[str]:
        """Names of variables of the caller that roles do not get."""
        ...

    def start(self, name: str) -> Mapping[str, Any]:
        """Start the role; returns what its `RoleState` is to be updated with."""
        ...


def starter(plan: Plan, context: Context, topology_id: str) -> Starter:
    """The starter for the plan's runtime. Raises BadInput and MissingPrerequisite; starts nothing."""
    if plan.runtime == "docker":
        return ContainerStarter(plan, context, topology_id)
    return ProcessStarter(plan, context, topology_id)


class ProcessStarter:
    """Roles as processes, each in a session of its own."""

    def __init__(self, plan: Plan, context: Context, topology_id: str) -> None:
        self.docker_hosts: list[str] = []
        self._context = context
        around = Surroundings(
            _places(plan, context),
            context.environ,
            tag(topology_id, context.state_dir),
            [role.host.address for role in plan.roles],
        )
        self._launches: dict[str, Launch] = {
            role.name: launcher.prepare(role, around, context.log(role.name), context.tmp_root / role.name)
            for role in plan.roles
        }

    def dropped(self) -> list[str]:
        return sorted({name for launch in self._launches.values() for name in launch.env.dropped})

    def start(self, name: str) -> Mapping[str, Any]:
        return {"process": launcher.start(self._launches[name], self._context.runner, self._context.root)}


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
