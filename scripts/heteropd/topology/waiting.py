"""From processes that exist to a topology that answers."""

from collections.abc import Callable

from heteropd.console.log_tail import last_lines, last_word
from heteropd.console.progress import Progress, Row
from heteropd.engine_api.responses import EngineResponse
from heteropd.errors import TopologyFailed
from heteropd.plan.model import RolePlan
from heteropd.topology import hints
from heteropd.topology.context import Context
from heteropd.topology.probe import CompletionInBackground, RoleProbe
from heteropd.topology.state import RoleState, Topology

_TAIL_LINES = 20
_SEARCHED_LINES = 400
_REFUSALS = 3


class Waiting:
    """Waits for readiness: engines and router healthy, and one completion through the router.

    The completion is what counts: vllm-router is healthy, and engines are, long before it has found them.
    """

    def __init__(self, context: Context, topology: Topology, probe: RoleProbe) -> None:
        self.topology = topology
        self._context, self._probe = context, probe
        self._began = context.clock.now()
        self._starts: dict[str, float] = {}
        self._shown = [role.name for role in topology.roles if role.healthy_after_s is None]
        self._completion = CompletionInBackground(probe, topology.plan)
        self._last = EngineResponse("refused", None, "none yet")
        self._refusals = 0

    def started(self, topology: Topology, name: str) -> None:
        """Take note that a role was started; ``topology`` knows its process."""
        self.topology = topology
        self._starts[name] = self._context.clock.now()

    def until_healthy(self, roles: list[RolePlan], progress: Progress) -> None:
        """Return when these roles' health paths answer. Raises TopologyFailed."""
        self._until(lambda: not [role for role in roles if not self._healthy(role)], progress)

    def until_answering(self, progress: Progress) -> float:
        """Return the seconds from the first start until a completion succeeded. Raises TopologyFailed."""
        self.until_healthy(self.topology.plan.roles, progress)
        self._until(self._answers, progress)
        self._all_alive()
        progress.update(self._rows("ready"), self._context.clock.now())
        return self._elapsed()

    def _until(self, reached: Callable[[], bool], progress: Progress) -> None:
        clock, timeouts = self._context.clock, self._context.timeouts
        while True:
            self._all_alive()
            done = reached()
            progress.update(self._rows(), clock.now())
            if done:
                return
            if self._elapsed() >= timeouts.ready:
                raise self._too_late(timeouts.ready)
            clock.sleep(timeouts.poll)

    def _healthy(self, role: RolePlan) -> bool:
        state = self.topology.role(role.name)
        if state.healthy_after_s is None and self._probe.health(role).ok:
            after = round(self._context.clock.now() - self._starts[role.name], 3)
            state = state.model_copy(update={"healthy_after_s": after})
            self.topology = self.topology.with_role(state)
        return state.healthy_after_s is not None

    def _answers(self) -> bool:
        response = self._completion.poll()
        if response is None or response.ok:
            return response is not None
        self._last = response
        self._refusals = self._refusals + 1 if response.final else 0
        if self._refusals >= _REFUSALS:
            advice = "does the model's name in the plan equal the one that the engines serve?"
            raise self._failed(f"the router refuses a completion: {response.short}", self._troubled(), advice)
        return False

    def _all_alive(self) -> None:
        for name in self._starts:
            role = self.topology.role(name)
            if not role.alive:
                raise self._died(role)

    def _died(self, role: RoleState) -> TopologyFailed:
        after = self._context.clock.now() - self._starts[role.name]
        lost = role.away()
        if lost:
            host = self.topology.planned(role.name).host.name
            message = f"{host} was lost {after:.0f} s after the start of {role.name}: {lost}"
            return TopologyFailed(message, [], "when it answers again: `make down`, then start anew")
        status = role.exit_status()
        ended = f"{role.name} died after {after:.0f} s, {hints.ended_with(status)}"
        return self._failed(ended, role, status=status)

    def _too_late(self, limit_s: float) -> TopologyFailed:
        role = self.topology.role(self._slowest())
        what = f"{role.name} was not healthy"
        if role.healthy_after_s is not None:
            role = self._troubled()
            what = f"no completion came through (last answer: {self._last.short})"
        return self._failed(f"not ready after {limit_s:g} s: {what}", role)

    def _troubled(self) -> RoleState:
        """Whose log says why no completion comes through: an engine that names an error, else the router."""
        roles = [self.topology.role(role.name) for role in self.topology.plan.engines]
        return next((role for role in roles if hints.cause(self._log(role))), self._router())

    def _failed(
        self, what: str, role: RoleState, advice: str | None = None, status: int | None = None
    ) -> TopologyFailed:
        """``what``, with what the role's log adds to it."""
        lines = self._log(role)
        cause = hints.cause(lines)
        if cause:
            what += f": {cause}" if role.name in what else f"; {role.name} says: {cause}"
        message = f"{what} (log: {self._context.shown(role.log)})"
        return TopologyFailed(message, lines[-_TAIL_LINES:], hints.hint(lines, status) or advice)

    def _log(self, role: RoleState) -> list[str]:
        role.refresh_log()
        return last_lines(role.log, _SEARCHED_LINES)

    def _router(self) -> RoleState:
        return self.topology.role(self.topology.plan.router.name)

    def _slowest(self) -> str:
        waiting = [role.name for role in self.topology.roles if role.healthy_after_s is None]
        started = [name for name in waiting if name in self._starts]
        return (started or waiting or [self._router().name])[0]

    def _rows(self, state: str | None = None) -> list[Row]:
        slowest = self._slowest()
        return [self._row(self.topology.role(name), slowest, state) for name in self._shown]

    def _row(self, role: RoleState, slowest: str, state: str | None) -> Row:
        planned, now = self.topology.planned(role.name), self._context.clock.now()
        where = f"{planned.platform} stand-in on {planned.runs_on}" if planned.standin else planned.runs_on
        if role.healthy_after_s is not None:
            # Healthy roles have been seen to be so, yet nothing came through: say what is waited for.
            word = f"waiting for a completion: {self._last.short}" if role.name == slowest else ""
            return Row(role.name, where, state or "healthy", role.healthy_after_s, "" if state else word)
        if role.name not in self._starts:
            return Row(role.name, where, "waiting", 0.0)
        if role.name == slowest:
            role.refresh_log()
        word = last_word(role.log) if role.name == slowest else ""
        return Row(role.name, where, "starting", now - self._starts[role.name], word)

    def _elapsed(self) -> float:
        return self._context.clock.now() - self._began
