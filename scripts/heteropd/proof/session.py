"""Sends everything, keeps both engines busy, brings back what it saw; judges nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import httpx

from heteropd.config.validation import Settings
from heteropd.engine_api.client import COMPLETIONS, AnswerProblem, Endpoint, EngineClient
from heteropd.engine_api.metrics import Counts
from heteropd.engine_api.requests import greedy
from heteropd.engine_api.responses import steps_of
from heteropd.plan.model import Plan, RolePlan
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.conversation import ApiAnswers, ApiRequests
from heteropd.proof.identity import EngineInfo
from heteropd.proof.integrity import Replies, Reply
from heteropd.proof.probes import Probe
from heteropd.proof.progress import Phases
from heteropd.system import Clock

_POLL_S = 0.25  # a reading costs an engine some milliseconds of the core it computes on
Sent = Mapping[int, Future[Reply]]
Single = list[tuple[int, int | None]]


@dataclass(frozen=True)
class ProbeRun:
    """Everything seen in one run; counts are movements since the run (or the window) began."""

    answers: ApiAnswers
    replies: Replies
    window: Counts
    prefill: Counts
    decode: Counts
    single: Single
    reused: int | None


class ProbeSession:
    """The running topology, seen from outside. Requests go to the first engine of a role, counts are summed
    over all of it."""

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

    def close(self) -> None:
        self._client.close()

    def unreachable(self) -> list[str]:
        """A sentence for every role that does not answer its health path."""
        problems = []
        for role in self.plan.roles:
            try:
                Endpoint(self._client, role.name, role.url, self.settings.waits.request_s).get(
                    role.health_path
                )
            except AnswerProblem as problem:
                problems.append(str(problem))
        return problems

    def engines(self) -> dict[str, EngineInfo]:
        """What each engine says of itself; raises `AnswerProblem` when one does not list its models."""
        return {engine.name: self._describe(engine) for engine in (*self.prefills, *self.decodes)}

    def _describe(self, engine: Endpoint) -> EngineInfo:
        listed = [
            model for model in engine.get_json("/v1/models").get("data") or [] if isinstance(model, dict)
        ]
        served = next((model for model in listed if model.get("id") == self.plan.model), {})
        try:
            version = str(engine.get_json("/version").get("version"))
        except AnswerProblem:
            version = None
        texts = self.settings.tokenizer_texts if served else []
        limit = served.get("max_model_len")
        return EngineInfo(
            [str(model.get("id")) for model in listed],
            served.get("root"),
            limit if isinstance(limit, int) else None,
            version,
            [engine.tokenize(self.plan.model, text) for text in texts],
        )

    def counts(self, side: Sequence[Endpoint]) -> Counts:
        return Counts.sum(engine.counts() for engine in side)

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

    def investigate(
        self, probes: Sequence[Probe], lone: Collection[int], twice: Collection[int], run: str, phases: Phases
    ) -> ProbeRun:
        """Send it all. Probes in ``lone`` go one by one, those in ``twice`` to the prefill engine alone as
        well; ``run`` makes the cache salts unique.

        The references run from the first moment to the last: they use neither connector nor router, so they
        do not disturb what is counted about the others, and no engine idles.
        """
        prefill_then, decode_then = self.counts(self.prefills), self.counts(self.decodes)
        api = ApiRequests(self.router, self.plan.model, self.settings, phases)
        decode = self._references(self.decodes[0], probes, run, phases)
        prefill = self._references(
            self.prefills[0], [probe for probe in probes if probe.index in twice], run, phases
        )
        self._await_transfers(decode_then, api)
        window_then = self.counts(self.decodes)
        routed, single = self._one_by_one([probe for probe in probes if probe.index in lone], run, phases)
        others = [probe for probe in probes if probe.index not in lone]
        routed |= self._together("probes together", others, run, phases)
        window = self.wait_for_counter(self.decodes, window_then, "transfers", len(probes))
        repeated = probes[-self.settings.probes.again :]
        again = self._together("probes again", repeated, run, phases)
        reused = self.counts(self.decodes).since(window_then)["local_hits"]
        replies = Replies(routed, again, _gather(prefill), _gather(decode))
        answers = api.end()
        through = len(probes) + len(repeated) + ApiRequests.REQUESTS
        return ProbeRun(
            answers=answers,
            replies=replies,
            window=window,
            prefill=self.wait_for_counter(self.prefills, prefill_then, "requests", through + len(prefill)),
            decode=self.wait_for_counter(self.decodes, decode_then, "requests", through + len(decode)),
            single=single,
            reused=reused,
        )

    def _references(self, engine: Endpoint, probes: Sequence[Probe], run: str, phases: Phases) -> Sent:
        """Few at a time: a long step of prompt work would hold up the transfers that run beside it."""
        name = f"{engine.name} alone"
        phases.begin(name, len(probes))
        jobs = [partial(self._ask, engine, probe, run, name, phases) for probe in probes]
        futures = side_by_side(jobs, self.settings.probes.references_in_flight)
        return {probe.index: future for probe, future in zip(probes, futures, strict=True)}

    def _one_by_one(
        self, probes: Sequence[Probe], run: str, phases: Phases
    ) -> tuple[dict[int, Reply], Single]:
        name = "probes one by one"
        phases.begin(name, len(probes))
        replies, single = {}, []
        for probe in probes:
            then = self.counts(self.decodes)
            replies[probe.index] = self._ask(self.router, probe, run, name, phases)
            moved = self.wait_for_counter(self.decodes, then, "transfers", 1)
            single.append((len(probe.tokens), moved["bytes"]))
        return replies, single

    def _together(self, name: str, probes: Sequence[Probe], run: str, phases: Phases) -> dict[int, Reply]:
        phases.begin(name, len(probes))
        jobs = [partial(self._ask, self.router, probe, run, name, phases) for probe in probes]
        futures = side_by_side(jobs, self.settings.probes.in_flight)
        return {probe.index: future.result() for probe, future in zip(probes, futures, strict=True)}

    def _ask(self, endpoint: Endpoint, probe: Probe, run: str, phase: str, phases: Phases) -> Reply:
        """One probe, one path. The salt names the path: no path finds another's KV in a prefix cache."""
        probes = self.settings.probes
        salt = f"{run}-{endpoint.name}"
        body = greedy(self.plan.model, probe.tokens, probes.max_tokens, probes.top_logprobs, salt)
        try:
            steps = steps_of(endpoint.post(COMPLETIONS, body))
            lacking = f"{endpoint.name}: the answer has no tokens with logprobs"
            return Reply(steps) if steps else Reply(error=lacking)
        except AnswerProblem as problem:
            return Reply(error=str(problem))
        finally:
            phases.step(phase)

    def _await_transfers(self, decode_then: Counts, api: ApiRequests) -> None:
        """Until the connectivity requests have got their KV: what moves after that belongs to the probes. The
        rest of their answers may take its time beside the probes."""
        while not api.over():
            moved = self.counts(self.decodes).since(decode_then)["transfers"]
            if moved is not None and moved >= ApiRequests.REQUESTS:
                return
            self.clock.sleep(_POLL_S)


def _gather(sent: Sent) -> dict[int, Reply]:
    return {index: future.result() for index, future in sent.items()}
