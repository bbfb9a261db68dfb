"""`status`: what runs, since when, where, and how it is."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field
from rich.console import Console
from rich.table import Table
from rich.text import Text

from heteropd.config.types import Data
from heteropd.errors import MissingPrerequisite
from heteropd.plan.model import Plan, RolePlan
from heteropd.system import parallel_map
from heteropd.topology.context import Context
from heteropd.topology.lock import holder
from heteropd.topology.probe import RoleProbe
from heteropd.topology.state import RoleState, Topology, load, require, standin_notice

RoleCondition = Literal["running", "dead", "not reached", "not started"]

_STYLES = {"running": "green", "dead": "red", "not reached": "red", "not started": "dim"}


class RoleStatus(Data):
    """One role. ``health`` is ``ok`` (an engine gave a token), or what was answered instead, or empty when it
    does not run.

    ``not reached``: its Docker host does not answer, so that nobody knows whether it runs.
    """

    name: str
    platform: str
    runs_on: str
    standin: bool
    state: RoleCondition
    pid: int | None
    container: str | None = None
    since: datetime | None
    url: str
    health: str
    log: Path


class StatusReport(Data):
    """``state``: ``up`` (all roles run and are healthy), ``starting``, ``broken``, or ``nothing``.

    ``at_work``: another command that is changing or measuring the topology; no engine was asked for a token.
    """

    state: Literal["up", "starting", "broken", "nothing"]
    case: str | None = None
    url: str | None = None
    standin: bool = False
    notice: str | None = None
    at_work: str | None = None
    roles: list[RoleStatus] = Field(default_factory=list)

    def show(self, console: Console) -> None:
        """Print the report."""
        if self.state == "nothing":
            console.print("nothing is running")
            return
        console.print(Text(f"{self.case}: {self.state}, requests go to {self.url}"))
        if self.notice:
            console.print(Text(self.notice, style="yellow"))
        if self.at_work:
            notice = f"at work{self.at_work}: engines were not asked for a token"
            console.print(Text(notice, style="yellow"))
        named = "pid" if any(role.pid for role in self.roles) else "container"
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("role", "platform", "state", named, "since", "url", "health", "log"):
            table.add_column(column, overflow="fold")
        for role in self.roles:
            where = f"{role.platform}: stand-in ({role.runs_on})" if role.standin else role.platform
            since = role.since.astimezone().strftime("%Y-%m-%d %H:%M:%S") if role.since else ""
            state, named = Text(role.state, style=_STYLES[role.state]), role.container or str(role.pid or "")
            table.add_row(role.name, where, state, named, since, role.url, role.health, str(role.log))
        console.print(table)
        if fix := self._fix():
            console.print(Text(fix, style="yellow"))

    def _fix(self) -> str:
        """What brings a broken topology back; empty where none of it is left."""
        lost = [role.name for role in self.roles if role.state == "not reached"]
        dead = [role.name for role in self.roles if role.state == "dead"]
        if lost:
            return f"{', '.join(lost)}: the host does not answer (`make doctor`)"
        if dead and len(dead) < len(self.roles):
            verb = "is" if len(dead) == 1 else "are"
            return f"{', '.join(dead)} {verb} dead: `make restart role={dead[0]}`"
        silent = [role.name for role in self.roles if role.state == "running" and role.health != "ok"]
        if silent and self.state == "broken":
            name = silent[0]
            return f"{name} does not answer: `make logs role={name}`, `make restart role={name}`"
        return ""


def status(context: Context) -> StatusReport:
    """Look at the topology without changing anything. Raises BadInput for an unreadable state file.

    Engines are asked for a token each, unless another command is at work: it may be counting them.
    """
    topology = load(context.state_dir)
    if topology is None:
        return StatusReport(state="nothing")
    away, at_work = set(topology.away()), holder(context.state_dir)
    with RoleProbe(context.timeouts) as probe:

        def look(role: RoleState) -> RoleStatus:
            planned, state = topology.planned(role.name), _state(role, away)
            ask = state in ("running", "not reached")
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
                health=_health(topology.plan, planned, probe, token=not at_work) if ask else "",
                log=Path(context.shown(role.log)),
            )

        roles = parallel_map(look, topology.roles)
    return StatusReport(
        state=_overall(topology, roles),
        case=topology.plan.case,
        url=topology.url,
        standin=topology.plan.standin,
        notice=standin_notice(topology.plan) if topology.plan.standin else None,
        at_work=at_work or None,
        roles=roles,
    )


def running(context: Context) -> Topology:
    """The topology, if every role of it runs and its server answers. Raises MissingPrerequisite otherwise."""
    topology = require(context.state_dir)
    case, dead = topology.plan.case, topology.dead()
    if dead:
        for url, why in topology.away().items():
            raise MissingPrerequisite(f"{url}, where {case} runs, does not answer: {why}", "`make doctor`")
    if topology.phase != "up":
        raise MissingPrerequisite(f"{case} is not up (it is still starting)", f"`make {case}`")
    if dead:
        fix = f"`make {case}`"
        if len(dead) < len(topology.roles):
            fix = f"`make restart role={dead[0]}`, or {fix} to start all anew"
        raise MissingPrerequisite(f"{case} is not up (dead: {', '.join(dead)})", fix)
    with RoleProbe(context.timeouts) as probe:
        responses = zip(topology.plan.roles, parallel_map(probe.health, topology.plan.roles), strict=True)
    for role, response in responses:
        if not response.ok:
            name = role.name
            problem = f"{name} of {case} runs, but its server does not answer ({response.short})"
            raise MissingPrerequisite(problem, f"`make logs role={name}`, `make restart role={name}`")
    return topology


def _health(plan: Plan, role: RolePlan, probe: RoleProbe, *, token: bool) -> str:
    """``ok``, or what is wrong."""
    response = probe.health(role)
    if not response.ok:
        return response.short
    if token and role.role != "router":
        response = probe.token(plan, role)
        if not response.ok:
            return f"listens, but gives no token: {response.short}"
    return "ok"


def _state(role: RoleState, away: set[str]) -> RoleCondition:
    if role.container is not None and role.container.docker_host in away:
        return "not reached"
    return "running" if role.alive else "dead" if role.known else "not started"


def _overall(topology: Topology, roles: list[RoleStatus]) -> Literal["up", "starting", "broken"]:
    if any(role.state in ("dead", "not reached") for role in roles):
        return "broken"
    if topology.phase == "starting":
        return "starting"
    return "up" if all(role.health == "ok" for role in roles) else "broken"
