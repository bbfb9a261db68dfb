"""`status`: what runs, since when, where, and how it is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from heteropd.errors import MissingPrerequisite
from heteropd.topology.context import Context
from heteropd.topology.probe import RoleProbe
from heteropd.topology.state import STANDIN_NOTICE, RoleState, Topology, load

_STYLES = {"running": "green", "dead": "red", "not reached": "red", "not started": "dim"}


class RoleStatus(BaseModel):
    """One role. ``health`` is ``ok``, or what was answered instead, or empty when it does not run.

    ``not reached``: the host's engine does not answer, so that nobody knows whether it runs.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    platform: str
    runs_on: str
    standin: bool
    state: Literal["running", "dead", "not reached", "not started"]
    pid: int | None
    container: str | None = None
    since: datetime | None
    url: str
    health: str
    log: Path


class StatusReport(BaseModel):
    """``state``: ``up`` (all roles run and are healthy), ``starting``, ``broken``, or ``nothing``."""

    model_config = ConfigDict(frozen=True)

    state: Literal["up", "starting", "broken", "nothing"]
    case: str | None = None
    url: str | None = None
    standin: bool = False
    notice: str | None = None
    roles: list[RoleStatus] = Field(default_factory=list)

    def show(self, console: Console) -> None:
        """Print the report."""
        console.print(self.render())

    def render(self) -> RenderableType:
        """The report for a terminal."""
        if self.state == "nothing":
            return Text("nothing is running")
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for column in (
            "role",
            "platform",
            "state",
            "pid" if any(role.pid for role in self.roles) else "container",
            "since",
            "url",
            "health",
            "log",
        ):
            table.add_column(column, overflow="fold")
        for role in self.roles:
            where = f"{role.platform}: stand-in ({role.runs_on})" if role.standin else role.platform
            since = role.since.astimezone().strftime("%Y-%m-%d %H:%M:%S") if role.since else ""
            state = Text(role.state, style=_STYLES[role.state])
            named = role.container or str(role.pid or "")
            table.add_row(role.name, where, state, named, since, role.url, role.health, str(role.log))
        head: list[RenderableType] = [Text(f"{self.case}: {self.state}, requests go to {self.url}")]
        if self.notice:
            head.append(Text(self.notice, style="yellow"))
        return Group(*head, table, *self._fix())

    def _fix(self) -> list[RenderableType]:
        """What brings a broken topology back; nothing where none of it is left."""
        lost = [role.name for role in self.roles if role.state == "not reached"]
        if lost:
            return [Text(f"{', '.join(lost)}: the host does not answer (`make doctor`)", style="yellow")]
        dead = [role.name for role in self.roles if role.state == "dead"]
        if not dead or len(dead) == len(self.roles):
            return []
        said = f"{', '.join(dead)} {'is' if len(dead) == 1 else 'are'} dead: `make restart role={dead[0]}`"
        return [Text(said, style="yellow")]


def status(context: Context) -> StatusReport:
    """Look at the topology without changing anything. Raises BadInput for an unreadable state file."""
    topology = load(context.state_dir)
    if topology is None:
        return StatusReport(state="nothing")
    away = set(topology.away())
    with RoleProbe(context.timeouts) as probe:
        roles = [_role(context, topology, role, probe, away) for role in topology.roles]
    return StatusReport(
        state=_overall(topology, roles),
        case=topology.plan.case,
        url=topology.url,
        standin=topology.plan.standin,
        notice=STANDIN_NOTICE if topology.plan.standin else None,
        roles=roles,
    )


def running(context: Context) -> Topology:
    """The topology, if every role of it runs. Raises MissingPrerequisite otherwise."""
    topology = load(context.state_dir)
    if topology is None:
        raise MissingPrerequisite("nothing is running", "start a topology: `make case1` or `make case2`")
    if topology.phase != "up" or topology.dead():
        dead, case = topology.dead(), topology.plan.case
        for where, why in topology.away().items():
            raise MissingPrerequisite(f"{where}, where {case} runs, does not answer: {why}", "`make doctor`")
        if topology.phase != "up":
            raise MissingPrerequisite(f"{case} is not up (it is still starting)", f"`make {case}`")
        fix = f"`make {case}`"
        if len(dead) < len(topology.roles):
            fix = f"`make restart role={dead[0]}`, or {fix} to start all anew"
        raise MissingPrerequisite(f"{case} is not up (dead: {', '.join(dead)})", fix)
    return topology


def _role(
    context: Context, topology: Topology, role: RoleState, probe: RoleProbe, away: set[str]
) -> RoleStatus:
    planned = topology.planned(role.name)
    health, state = "", _state(role, away)
    if state in ("running", "not reached"):
        answer = probe.health(planned)
        health = "ok" if answer.ok else answer.short
    return RoleStatus(
        name=role.name,
        platform=planned.platform,
        runs_on=planned.runs_on,
        standin=planned.standin,
        state=state,
        pid=role.process.pid if role.process else None,
        container=role.container.name if role.container else None,
        since=role.started,
        url=planned.url,
        health=health,
        log=Path(context.shown(role.log)),
    )


def _state(role: RoleState, away: set[str]) -> Literal["running", "dead", "not reached", "not started"]:
    if role.container is not None and role.container.engine in away:
        return "not reached"
    return "running" if role.alive else "dead" if role.known else "not started"


def _overall(topology: Topology, roles: list[RoleStatus]) -> Literal["up", "starting", "broken"]:
    if any(role.state in ("dead", "not reached") for role in roles):
        return "broken"
    if topology.phase == "starting":
        return "starting"
    return "up" if all(role.health == "ok" for role in roles) else "broken"
