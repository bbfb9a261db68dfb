"""`down`: end the topology, router first, and leave no process, port or temporary file of it.

Nothing here needs room on a disk: what is ended must end on a full one too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from pydantic import Field
from rich.console import Console
from rich.table import Table
from rich.text import Text

from heteropd.config.types import Data
from heteropd.containers import docker_host, stopping
from heteropd.containers.lifecycle import ContainerRef
from heteropd.containers.stopping import Outcome, Swept
from heteropd.errors import BadInput
from heteropd.processes import shared_memory, terminate, watchdog
from heteropd.processes.identity import Identity
from heteropd.processes.process_tree import descendants, tagged
from heteropd.processes.record import forget
from heteropd.processes.sweep import clean
from heteropd.processes.terminate import Ending
from heteropd.topology import checks
from heteropd.topology.context import Context
from heteropd.topology.interrupt_scope import InterruptScope
from heteropd.topology.lock import locked
from heteropd.topology.state import RoleState, Topology, load


class EndedRole(Data):
    """How one role went: ``stopped`` by itself when told to, ``killed`` because it did not."""

    name: str
    pid: int | None
    container: str | None = None
    outcome: Outcome


class DownReport(Data):
    """What `down` found, ended and removed. ``processes`` counts all of them, workers of engines included;
    ``containers`` counts those that were removed."""

    was_running: bool
    roles: list[EndedRole] = Field(default_factory=list)
    processes: int = 0
    containers: int = 0
    missed: list[str] = Field(default_factory=list, description="Docker hosts that did not answer")
    ports_in_use: list[str] = Field(default_factory=list)
    segments_removed: list[str] = Field(default_factory=list)
    seconds: float = 0.0
    notes: list[str] = Field(default_factory=list)

    @property
    def ok(self) -> bool:
        """False when something of ours outlived even SIGKILL, or its host did not answer."""
        return not self.missed and all(role.outcome != "still running" for role in self.roles)

    def show(self, console: Console) -> None:
        """Print the report."""
        for note in self.notes:
            console.print(Text(note))
        if not self.was_running:
            console.print("nothing is running")
            return
        table = Table.grid(padding=(0, 2))
        for role in self.roles:
            table.add_row(role.name, role.container or (f"pid {role.pid}" if role.pid else ""), role.outcome)
        console.print(table)
        for port in self.ports_in_use:
            console.print(Text(f"still in use: {port}", style="yellow"))
        ended = f"{self.processes} processes ended"
        if self.containers:
            ended = f"{self.containers} containers removed"
        free = "" if self.ports_in_use else ", ports free"
        console.print(Text(f"down after {self.seconds:.1f} s: {ended}{free}"))


def down(context: Context) -> DownReport:
    """End whatever runs of this state folder, with or without a readable state. Safe to repeat.

    Logs and reports stay. Raises BadInput when another command is at work on the topology.
    """
    state_dir = context.state_dir
    with InterruptScope(context) as scope, locked(state_dir, "down", context.clock, ending=True):
        watchdog.stop(state_dir)
        notes: list[str] = []
        try:
            topology = load(state_dir)
        except BadInput as unreadable:
            topology, notes = None, [f"ending by the tags of processes instead: {unreadable}"]
        lost = 0
        if topology is not None:
            scope.adopt(topology.id, topology.leftovers)  # ctrl-C here means: at once
        elif docker_host.present():
            lost = stopping.sweep([docker_host.address()], state_dir, None).removed
        if topology is None and not lost and not tagged(state_dir):
            clean(context.leftovers)
            forget(state_dir, None)
            return DownReport(was_running=False, notes=notes)
        if lost:
            notes.append(f"removed {lost} containers of a lost topology")
        return _down(context, topology, notes, lost)


def _down(context: Context, topology: Topology | None, notes: list[str], lost: int) -> DownReport:
    clock, state_dir = context.clock, context.state_dir
    began = clock.now()
    roles = topology.roles if topology else []
    segments = shared_memory.segments(process.pid for process in tagged(state_dir))
    ended = end_roles(context, topology, roles)
    ending = ended.ending | terminate.end(lambda: tagged(state_dir), clock, context.timeouts.stop)
    swept = Swept(0)
    if topology and topology.docker_hosts:
        swept = stopping.sweep(topology.docker_hosts, state_dir, topology.id)
        stopping.remove_segments(ended.remote_segments, topology.images)
    removed = clean(topology.leftovers if topology else context.leftovers, segments | ended.segments)
    if swept.missed:
        notes.append(f"{', '.join(swept.missed)}: no answer; `make down` again when there is one")
    else:
        forget(state_dir, None)
    was_running = bool(ending.found or lost or set(ended.stopped.values()) - {"was not running"})
    if not was_running:
        notes.append("cleared a stale state: nothing of it was running")
    return DownReport(
        was_running=was_running,
        roles=[_outcome(role, ending, ended.stopped) for role in roles],
        processes=len(ending.found),
        containers=swept.removed + lost,
        missed=list(swept.missed),
        ports_in_use=checks.described(checks.ports_in_use(topology.plan.roles_here)) if topology else [],
        segments_removed=removed,
        seconds=round(clock.now() - began, 3),
        notes=notes,
    )


@dataclass(frozen=True)
class RolesEnded:
    """What it took to end roles: processes; containers, by id; and the shared memory that they used, here as
    paths, on other hosts as names by container."""

    ending: Ending
    stopped: dict[str, Outcome]
    segments: set[str]
    remote_segments: dict[ContainerRef, frozenset[str]]


def end_roles(context: Context, topology: Topology | None, roles: Iterable[RoleState]) -> RolesEnded:
    """End the processes of these roles and stop their containers, routers first; then fetch the last of their
    logs. Nothing is removed."""
    clock, grace_s, roles = context.clock, context.timeouts.stop, list(roles)
    routers = [role for role in roles if topology and topology.planned(role.name).role == "router"]
    pids = {process.pid for process in members(context, topology, roles)}
    segments = shared_memory.segments(pids.union(*(role.pids() for role in roles)))
    remote_segments = stopping.used_segments(role.container for role in roles if role.container)
    ending, stopped = Ending(), dict[str, Outcome]()
    for step in (routers, [role for role in roles if role not in routers]):
        ending |= terminate.end(partial(members, context, topology, step), clock, grace_s)
        stopped |= stopping.stop([role.container for role in step if role.container], grace_s)
    for role in roles:
        role.refresh_log()
    return RolesEnded(ending, stopped, segments, remote_segments)


def members(context: Context, topology: Topology | None, roles: Iterable[RoleState]) -> set[Identity]:
    """Living processes of these roles, those included that were never written down or left the session."""
    found: set[Identity] = set()
    for role in roles:
        found |= tagged(context.state_dir, topology.id if topology else None, role.name)
        found |= descendants(role.process) if role.process else set()
    return found


def _outcome(role: RoleState, ending: Ending, stopped: dict[str, Outcome]) -> EndedRole:
    if role.container is not None:
        outcome = stopped.get(role.container.id, "was not running")
        return EndedRole(name=role.name, pid=None, container=role.container.name, outcome=outcome)
    outcome = "was not running"
    if role.process in ending.found:
        survived, killed = role.process in ending.survivors, role.process in ending.killed
        outcome = "still running" if survived else "killed" if killed else "stopped"
    return EndedRole(name=role.name, pid=role.process.pid if role.process else None, outcome=outcome)
