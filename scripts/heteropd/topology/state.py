"""A topology's state on disk: written before anything starts, replaced whole, readable by nobody else."""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError

from heteropd.config.types import Data
from heteropd.containers import docker_host
from heteropd.containers import lifecycle as containers
from heteropd.containers.lifecycle import ContainerRef
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.plan.model import Plan, RolePlan
from heteropd.processes import launcher as processes
from heteropd.processes.identity import Identity, alive, boot_id
from heteropd.processes.record import NEW_STATE_FILE, STATE_FILE
from heteropd.processes.sweep import Leftovers
from heteropd.topology.context import Context

STANDIN_NOTICE = "STAND-IN (CPU): proves the software path, not the hardware"


def standin_notice(plan: Plan) -> str:
    """What a topology with stand-ins proves, and what of it is real."""
    if not plan.real:
        return STANDIN_NOTICE
    real = ", ".join(f"{name} on {platform}" for name, platform in plan.real.items())
    others = ", ".join(f"{role.name} for {role.platform}" for role in plan.engines if role.standin)
    return f"REAL: {real}; STAND-IN (CPU): {others}, whose hardware this does not prove"


class StateNotWritten(KitError):
    """The state file could not be replaced: a full disk, a folder in its place. The old one stands."""


class RoleState(Data):
    """One role of a topology: a process or a container, None from the intention to start it until known."""

    name: str
    log: Path
    process: Identity | None = None
    container: ContainerRef | None = None
    started: datetime | None = None
    healthy_after_s: float | None = Field(None, description="Seconds from its start until it was healthy")

    @property
    def alive(self) -> bool:
        if self.container is not None:
            return containers.alive(self.container)
        return self.process is not None and alive(self.process)

    @property
    def known(self) -> bool:
        """True once it was started."""
        return self.process is not None or self.container is not None

    def away(self) -> str | None:
        """Why its Docker host does not answer, so that nobody knows whether it runs; None when it does."""
        return containers.away(self.container.docker_host) if self.container else None

    def exit_status(self) -> int | None:
        """How it ended, negative for a signal; None while it runs or when nobody knows."""
        if self.container is not None:
            return containers.exit_status(self.container)
        return processes.exit_status(self.process) if self.process else None

    def refresh_log(self) -> None:
        """Bring the log file up to date: a process writes it itself, a container's Docker host is asked."""
        if self.container is not None:
            containers.copy_log(self.container, self.log)

    def read_log(self) -> str | None:
        """What it logged, brought up to date while it lives; None where that cannot be read."""
        if self.alive:
            self.refresh_log()
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def tops(self) -> set[int]:
        """Processes on this machine from which all of the role are found: they are these or below them."""
        return self.pids() | ({self.process.pid} if self.process else set())

    def pids(self) -> set[int]:
        """Processes of a container on this machine; a process's own are found by its tag."""
        return containers.pids(self.container) if self.container else set()


class Topology(Data):
    """A plan that was started. ``folders`` and ``segments`` (of shared memory) go when it goes."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    version: Literal[1] = 1
    id: str
    phase: Literal["starting", "up"]
    boot_id: str
    fingerprint: str
    created: datetime
    ready_after_s: float | None = Field(None, description="Seconds from the first start to a completion")
    plan: Plan
    roles: list[RoleState]
    docker_hosts: list[str] = Field(default_factory=list, alias="engines", description="Addresses, if any")
    folders: list[Path] = Field(default_factory=list)
    segments: list[str] = Field(default_factory=list)

    @classmethod
    def of(
        cls, plan: Plan, topology_id: str, context: Context, refs: Mapping[str, ContainerRef] | None = None
    ) -> "Topology":
        """A topology that is about to start; with ``refs``, one of containers (by role) that run already."""
        after, found = (None, {}) if refs is None else (0.0, refs)
        roles = [
            RoleState(name=name, log=context.log(name), container=found.get(name), healthy_after_s=after)
            for name in (role.name for role in plan.roles)
        ]
        urls = {ref.docker_host for ref in found.values()}
        return cls(
            id=topology_id,
            phase="starting" if refs is None else "up",
            boot_id=boot_id(),
            fingerprint=plan.fingerprint(),
            created=context.clock.wall(),
            plan=plan,
            roles=roles,
            docker_hosts=docker_host.of_plan(plan) if refs is None else sorted(urls),
            folders=[context.tmp_root],
        )

    @property
    def url(self) -> str:
        """Where requests go: the router."""
        return self.plan.router.url

    @property
    def leftovers(self) -> Leftovers:
        return Leftovers(tuple(self.folders), tuple(self.segments), tuple(self.docker_hosts))

    @property
    def images(self) -> dict[str, str]:
        """The image of every container, by the container's id."""
        made = [(role.container, self.planned(role.name).container) for role in self.roles]
        return {ref.id: plan.image for ref, plan in made if ref and plan}

    def role(self, name: str) -> RoleState:
        return next(role for role in self.roles if role.name == name)

    def planned(self, name: str) -> RolePlan:
        return next(role for role in self.plan.roles if role.name == name)

    def with_role(self, changed: RoleState) -> "Topology":
        roles = [changed if role.name == changed.name else role for role in self.roles]
        return self.model_copy(update={"roles": roles})

    def dead(self) -> list[str]:
        """Names of the roles that do not run (any more), or whose host does not answer."""
        return [role.name for role in self.roles if not role.alive]

    def away(self) -> dict[str, str]:
        """Why Docker hosts do not answer, by their address; of those alone whose roles seem dead."""
        dead = [role.container for role in self.roles if role.container and not role.alive]
        urls = dict.fromkeys(ref.docker_host for ref in dead)
        return {url: why for url in urls if (why := containers.away(url))}


def save(topology: Topology, state_dir: Path) -> None:
    """Replace the state file in one step; a reader sees the old one or the new one, never a part.

    Raises StateNotWritten.
    """
    new = state_dir / NEW_STATE_FILE
    try:
        text = topology.model_dump_json(indent=2)
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(text)
        new.replace(state_dir / STATE_FILE)
    except PydanticSerializationError:  # a topology can be written: what came in between is an interrupt
        raise KeyboardInterrupt from None
    except OSError as problem:
        why = f"cannot be written ({problem.strerror}); free or repair that place"
        raise StateNotWritten(f"{state_dir / STATE_FILE} {why}") from None


def require(state_dir: Path) -> Topology:
    """The recorded topology. Raises MissingPrerequisite where there is none, and as `load`."""
    topology = load(state_dir)
    if topology is None:
        raise MissingPrerequisite("nothing is running", "start a topology: `make case1` or `make case2`")
    return topology


def load(state_dir: Path) -> Topology | None:
    """The recorded topology, alive or not; None when there is none.

    Raises BadInput when the file is not what this version of the kit writes.
    """
    path = state_dir / STATE_FILE
    try:
        return Topology.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError, UnicodeDecodeError) as problem:
        what = str(problem.errors()[0]["msg"]) if isinstance(problem, ValidationError) else str(problem)
        if isinstance(problem, OSError):
            what = problem.strerror or what
        trouble = f"not a state file of this version of the kit ({what})"
        fix = f"`make down` clears it; logs are in {state_dir / 'logs'}"
        raise BadInput(str(path), None, None, trouble, fix) from None
