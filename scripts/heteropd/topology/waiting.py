"""From processes that exist to a topology that answers."""

from __future__ import annotations

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
        self._last_answer = EngineResponse("refused", None, "not asked yet")
        self._refusals = 0

    def started(self, topology: Topology, name: str) -> None:
        """Take note that a role was started; ``topology`` knows its process."""
        self.topology = topology
        self._starts[name] = self._context.clock.now()

    def until_healthy(self, roles: list[RolePlan], progress: Progress) -> None:
        """Return when these roles' health paths answer. Raises TopologyFailed."""
        self._until(lambda: self._all_healthy(roles), progress)

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

    def _all_healthy(self, roles: list[RolePlan]) -> bool:
        healthy = [self._healthy(role) for role in roles]
        return all(healthy)

    def _healthy(self, role: RolePlan) -> bool:
        state = self.topology.role(role.name)
        if state.healthy_after_s is None and self._probe.health(role).ok:
            after = round(self._context.clock.now() - self._starts[role.name], 3)
            state = state.model_copy(update={"healthy_after_s": after})
            self.topology = self.topology.with_role(state)
        return state.healthy_after_s is not None

    def _answers(self) -> bool:
        answer = self._completion.poll()
        if answer is None:
            return False
        if answer.ok:
            return True
        self._last_answer = answer
        self._refusals = self._refusals + 1 if answer.final else 0
        if self._refusals >= _REFUSALS:
            raise TopologyFailed(
                f"the router refuses a completion: {answer.short}",
                last_lines(self.topology.role(self.topology.plan.router.name).log, _TAIL_LINES),
                "does the model's name in the plan equal the one that the engines serve?",
            )
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
            where = self.topology.planned(role.name).host.name
            message = f"{where} was lost {after:.0f} s after the start of {role.name}: {lost}"
            return TopologyFailed(message, [], "when it answers again: `make down`, then start anew")
        role.refresh_log()
        status = role.exit_status()
        lines = last_lines(role.log, _SEARCHED_LINES)
        message = f"{role.name} died after {after:.0f} s, {hints.ended_with(status)}"
        said = hints.cause(lines)
        where = f" (log: {self._context.shown(role.log)})"
        return TopologyFailed(
            message + (f": {said}" if said else "") + where, lines[-_TAIL_LINES:], hints.hint(lines, status)
        )

    def _too_late(self, limit_s: float) -> TopologyFailed:
        name = self._slowest()
        role = self.topology.role(name)
        what = f"{name} was not healthy" if role.healthy_after_s is None else "no completion came through"
        if role.healthy_after_s is not None:
            what += f" (last answer: {self._last_answer.short})"
        role.refresh_log()
        lines = last_lines(role.log, _SEARCHED_LINES)
        message = f"not ready after {limit_s:g} s: {what} (log: {self._context.shown(role.log)})"
        return TopologyFailed(message, lines[-_TAIL_LINES:], hints.hint(lines))

    def _slowest(self) -> str:
        waiting = [one.name for one in self.topology.roles if one.healthy_after_s is None]
        started = [name for name in waiting if name in self._starts]
        return (started or waiting or [self.topology.plan.router.name])[0]

    def _rows(self, state: str | None = None) -> list[Row]:
        slowest = self._slowest()
        return [self._row(self.topology.role(name), slowest, state) for name in self._shown]

    def _row(self, role: RoleState, slowest: str, state: str | None) -> Row:
        planned, now = self.topology.planned(role.name), self._context.clock.now()
        where = f"{planned.platform} stand-in on {planned.runs_on}" if planned.standin else planned.runs_on
        if role.healthy_after_s is not None:
            # Healthy roles have been seen to be so, yet nothing came through: say what is waited for.
            word = f"waiting for a completion: {self._last_answer.short}" if role.name == slowest else ""
            return Row(role.name, where, state or "healthy", role.healthy_after_s, "" if state else word)
        if role.name not in self._starts:
            return Row(role.name, where, "waiting", 0.0)
        if role.name == slowest:
            role.refresh_log()
        word = last_word(role.log) if role.name == slowest else ""
        return Row(role.name, where, "starting", now - self._starts[role.name], word)

    def _elapsed(self) -> float:
        return self._context.clock.now() - self._began
