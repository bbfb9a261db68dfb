"""The running topology, seen from outside: its roles, what they say of themselves, what they count."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import Any

import httpx

from heteropd.config.validation import Settings
from heteropd.engine_api.client import COMPLETIONS, AnswerProblem, Endpoint, EngineClient
from heteropd.engine_api.metrics import Counts
from heteropd.engine_api.requests import greedy
from heteropd.plan.model import Plan, RolePlan
from heteropd.proof.concurrency import side_by_side
from heteropd.system import Clock

_POLL_S = 0.25  # a reading costs an engine some milliseconds of the core it computes on
_LOOK_S = 5.0  # so long nothing may come before the engines' counters are looked at
_WORK = ("prompt_tokens", "generation_tokens", "requests")


class Stalled(Exception):
    """Nothing moves any more. The message names the role that is the first cause, where one can be told."""


class ProbeSession:
    """The topology's roles. References are asked of the first engine of a role, counts are summed over all
    of it."""

    def __init__(
        self, plan: Plan, settings: Settings, clock: Clock, transport: httpx.BaseTransport | None
    ) -> None:
        self.plan, self.settings, self.clock = plan, settings, clock
        self._client = EngineClient(clock, transport)

        def reach(role: RolePlan) -> Endpoint:
            return Endpoint(self._client, role.name, role.url, settings.waits.request_s)

        self.router = reach(plan.router)
        self.prefills = [reach(role) for role in plan.of("prefill")]
        self.decodes = [reach(role) for role in plan.of("decode")]
        self.on_poll: Callable[[], None] = lambda: None
        self._health_paths = {role.name: role.health_path for role in plan.roles}

    @property
    def engines(self) -> list[Endpoint]:
        return [*self.prefills, *self.decodes]

    def close(self) -> None:
        self._client.close()

    def unhealthy(self) -> list[str]:
        """A sentence for every role that does not answer its health path."""
        roles = [*self.engines, self.router]
        return self._problems([partial(self._check_health, role) for role in roles])

    def stuck_engines(self) -> list[str]:
        """A sentence for every engine that is healthy and computes nothing: its core may be frozen."""
        return self._problems([partial(self._compute_one_token, engine) for engine in self.engines])

    def _problems(self, jobs: Sequence[partial[None]]) -> list[str]:
        problems = []
        for future in side_by_side(jobs, len(jobs)):
            try:
                future.result()
            except AnswerProblem as problem:
                problems.append(str(problem))
        return problems

    def _check_health(self, role: Endpoint) -> None:
        role.get(self._health_paths[role.name], limit_s=self.settings.waits.health_s)

    def _compute_one_token(self, engine: Endpoint) -> None:
        limit_s = self.settings.waits.first_token_s
        body = greedy(self.plan.model, [1], 1, 2, "heteropd")
        try:
            engine.post(COMPLETIONS, body, limit_s=limit_s)
        except AnswerProblem as problem:
            late = f"{engine.name} answers its health path, but computes no token within {limit_s:g} s"
            raise AnswerProblem(late if "no answer within" in str(problem) else str(problem)) from None

    def counts(self, side: Sequence[Endpoint]) -> Counts:
        """One reading; raises `AnswerProblem` when an engine has no page in time."""
        return Counts.sum(engine.counts(limit_s=self.settings.waits.health_s) for engine in side)

    def wait_for_counter(self, side: Sequence[Endpoint], since: Counts, key: str, wanted: int) -> Counts:
        """Movements since a reading, once ``key`` has moved by ``wanted`` or the time for it is over.

        Engines publish counters with their next step, so a reading right after an answer may lack it.
        """
        deadline = self.clock.now() + self.settings.waits.metrics_s
        while True:
            moved = self.counts(side).since(since)
            count = moved[key]
            if count is None or count >= wanted or self.clock.now() >= deadline:
                return moved
            self.clock.sleep(_POLL_S)

    def wait_for_others(self) -> str | None:
        """Until requests that are not ours have ended: a router goes on with those of a client that left.
        What is still under way when the time for it is over, None when nothing is."""
        deadline = self.clock.now() + self.settings.waits.idle_s
        while True:
            before = self.counts(self.engines)
            self.clock.sleep(_POLL_S)
            now = self.counts(self.engines)
            under_way = (now["running"] or 0) + (now["waiting"] or 0)
            moved = now.since(before)
            if not under_way and not any(moved[key] for key in _WORK):
                return None
            if self.clock.now() >= deadline:
                return f"{under_way or moved['requests']} requests of others are under way"
            if under_way:
                # What an engine counted last stays on its page until it computes again.
                self.stuck_engines()
                self.clock.sleep(_POLL_S)

    def gather(self, futures: Iterable[Future[Any]], until: Callable[[], bool] = lambda: False) -> None:
        """Wait for all, or until something else is so. Raises `Stalled` when nothing comes and no engine
        counts anything for too long."""
        open_, since = set(futures), self.clock.now()
        seen, looked = None, since
        while open_ and not until():
            done, open_ = wait(open_, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            self.on_poll()
            now = self.clock.now()
            if done:
                since = looked = now
            elif now - looked >= min(_LOOK_S, self.settings.waits.stall_s / 3):
                looked, count = now, self.work_done()
                if count != seen:
                    seen, since = count, now
                elif now - since >= self.settings.waits.stall_s:
                    raise Stalled(self.first_cause(len(open_)))

    def work_done(self) -> list[int | None] | None:
        """What all engines have computed so far; None where one does not say it."""
        try:
            counts = self.counts(self.engines)
        except AnswerProblem:
            return None
        return [counts[key] for key in _WORK]

    def first_cause(self, left: int | None = None) -> str:
        """Why nothing moves: the role that is the cause, where one can be told. ``left``: requests without an
        answer, where they are known."""
        causes = self.unhealthy() or self.stuck_engines()
        stall_s = self.settings.waits.stall_s
        requests = "requests" if left is None else f"{left} requests"
        text = f"{requests} had no answer, and nothing was computed, for {stall_s:g} s"
        return f"{'; '.join(causes)} ({text})" if causes else f"{text}, though every role answers by itself"
