"""`down`: end the topology, router first, and leave no process, port or temporary file of it."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from heteropd.containers import docker_host, memory, stopping
from heteropd.containers.stopping import Outcome, Swept
from heteropd.errors import BadInput
from heteropd.processes import shared_memory, terminate, watchdog
from heteropd.processes.identity import Identity
from heteropd.processes.process_tree import family, marked
from heteropd.processes.sweep import clean, forget
from heteropd.processes.terminate import Ending
from heteropd.topology import ports
from heteropd.topology.context import Context
from heteropd.topology.interrupt_scope import InterruptScope
from heteropd.topology.lock import locked
from heteropd.topology.state import RoleState, Topology, load


class EndedRole(BaseModel):
    """How one role went: ``stopped`` by itself when asked, ``killed`` because it did not."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int | None
    container: str | None = None
    outcome: Outcome


class DownReport(BaseModel):
    """What `down` found, ended and removed. ``processes`` counts all of them, workers of engines included;
    ``containers`` counts those that were removed."""

    model_config = ConfigDict(frozen=True)

    was_running: bool
    roles: list[EndedRole] = Field(default_factory=list)
    processes: int = 0
    containers: int = 0
    missed: list[str] = Field(default_factory=list, description="Container engines that did not answer")
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
        console.print(self.render())

    def render(self) -> RenderableType:
        """The report for a terminal."""
        lines: list[RenderableType] = [Text(note) for note in self.notes]
        if not self.was_running:
            return Group(*lines, Text("nothing is running"))
        table = Table.grid(padding=(0, 2))
        for role in self.roles:
            who = role.container or (f"pid {role.pid}" if role.pid else "")
            table.add_row(role.name, who, role.outcome)
        lines.append(table)
        lines += [Text(f"still in use: {port}", style="yellow") for port in self.ports_in_use]
        free = "" if self.ports_in_use else ", ports free"
        what = (
            f"{self.containers} containers removed"
            if self.containers
            else f"{self.processes} processes ended"
        )
        lines.append(Text(f"down after {self.seconds:.1f} s: {what}{free}"))
        return Group(*lines)


def down(context: Context) -> DownReport:
    """End whatever runs of this state folder, with or without a readable state. Safe to repeat.

    Logs and reports stay. Raises BadInput when another command is at work on the topology.
    """
    with InterruptScope(context) as hold, locked(context.state_dir, "down", context.clock):
        watchdog.stop(context.state_dir)
        notes: list[str] = []
        try:
            topology = load(context.state_dir)
        except BadInput as unreadable:
            topology, notes = None, [f"ending by the marks of processes instead: {unreadable}"]
        lost = _containers_without_a_state(context, topology)
        if topology is None and not lost and not marked(context.state_dir):
            clean(context.leftovers)
            forget(context.state_dir, None)
            return DownReport(was_running=False, notes=notes)
        if topology is not None:
            hold.adopt(topology.id, topology.leftovers)  # ctrl-C here means: at once
        if lost:
            notes.append(f"removed {lost} containers of a lost topology")
        return _down(context, topology, notes, lost)


def _down(context: Context, topology: Topology | None, notes: list[str], lost: int) -> DownReport:
    clock, state_dir, grace = context.clock, context.state_dir, context.timeouts.stop
    began = clock.now()
    inside = [role.pids() for role in _roles(topology)]
    segments = shared_memory.segments({one.pid for one in marked(state_dir)}.union(*inside))
    routers = [one for one in _roles(topology) if topology and topology.planned(one.name).role == "router"]
    engines = [one for one in _roles(topology) if one not in routers]
    steps = [
        terminate.end(lambda: members(context, topology, routers), clock, grace),
        terminate.end(lambda: members(context, topology, engines), clock, grace),
        terminate.end(lambda: marked(state_dir), clock, grace),
    ]
    total = _sum(steps)
    stopped, swept = _stop_containers(context, topology, [routers, engines])
    removed = clean(topology.leftovers if topology else context.leftovers, segments)
    if swept.missed:
        notes.append(f"{', '.join(swept.missed)}: no answer; `make down` again when there is one")
    else:
        forget(state_dir, None)
    busy = ports.used(topology.plan.roles_here) if topology else []
    was_running = bool(total.found or lost or set(stopped.values()) - {"was not running"})
    if not was_running:
        notes.append("cleared a stale state: nothing of it was running")
    return DownReport(
        was_running=was_running,
        roles=[_ended(role, total, stopped) for role in _roles(topology)],
        processes=len(total.found),
        containers=swept.removed + lost,
        missed=list(swept.missed),
        ports_in_use=[f"{one.name}'s {kind} port {port} by {ports.holder(port)}" for one, kind, port in busy],
        segments_removed=removed,
        seconds=round(clock.now() - began, 3),
        notes=notes,
    )


def _roles(topology: Topology | None) -> list[RoleState]:
    return topology.roles if topology else []


def members(context: Context, topology: Topology | None, roles: Iterable[RoleState]) -> set[Identity]:
    """Living processes of these roles, those included that were never written down or left the session."""
    found: set[Identity] = set()
    for role in roles:
        found |= marked(context.state_dir, topology.id if topology else None, role.name)
        found |= family(role.process) if role.process else set()
    return found


def _sum(steps: list[Ending]) -> Ending:
    return Ending(
        frozenset().union(*(step.found for step in steps)),
        frozenset().union(*(step.killed for step in steps)),
        frozenset().union(*(step.survivors for step in steps)),
    )


def _containers_without_a_state(context: Context, topology: Topology | None) -> int:
    """Remove containers that carry this state folder's label although no state knows them; how many."""
    if topology is not None or not docker_host.present():
        return 0
    return stopping.sweep([docker_host.address()], context.state_dir, None).removed


def _stop_containers(
    context: Context, topology: Topology | None, steps: list[list[RoleState]]
) -> tuple[dict[str, Outcome], Swept]:
    """Stop step after step, keep what was said, then remove all containers of the topology.

    Returns what it took, by container.
    """
    if topology is None or not topology.engines:
        return {}, Swept(0)
    stopped: dict[str, Outcome] = {}
    used = memory.used(one.container for one in topology.roles if one.container)
    for roles in steps:
        stopped |= stopping.stop([one.container for one in roles if one.container], context.timeouts.stop)
    for role in topology.roles:
        role.refresh_log()
    swept = stopping.sweep(topology.engines, context.state_dir, topology.id)
    memory.remove(used, topology.images)
    return stopped, swept


def _outcome(role: RoleState, stopped: dict[str, Outcome]) -> Outcome:
    return stopped.get(role.container.id, "was not running") if role.container else "was not running"


def _ended(role: RoleState, total: Ending, stopped: dict[str, Outcome]) -> EndedRole:
    if role.container is not None:
        name = role.container.name
        return EndedRole(name=role.name, pid=None, container=name, outcome=_outcome(role, stopped))
    process = role.process
    if process is None or process not in total.found:
        return EndedRole(name=role.name, pid=process.pid if process else None, outcome="was not running")
    if process in total.survivors:
        return EndedRole(name=role.name, pid=process.pid, outcome="still running")
    killed = process in total.killed
    return EndedRole(name=role.name, pid=process.pid, outcome="killed" if killed else "stopped")
