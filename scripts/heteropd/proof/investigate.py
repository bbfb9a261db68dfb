"""Sends everything, keeps both engines busy, brings back what it saw; judges nothing."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from heteropd.engine_api.client import COMPLETIONS, AnswerProblem, Endpoint
from heteropd.engine_api.metrics import Counts
from heteropd.engine_api.requests import greedy
from heteropd.engine_api.responses import steps_of
from heteropd.proof.accounting import Observed, Traffic, Workload, workload
from heteropd.proof.api_requests import Answer, ApiAnswers, ApiKind, ApiRequests, RunningRequests, usage_of
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.integrity import Replies, Reply
from heteropd.proof.probes import Probe
from heteropd.proof.progress import Phases
from heteropd.proof.session import ProbeSession
from heteropd.proof.trial import Trial

Single = list[tuple[int, int | None]]


@dataclass(frozen=True)
class ProbeRun:
    """Everything seen in one run. ``sent`` are the probes that went through the router, ``alone`` the answers
    of each engine to what users send, by engine. ``reused``: prompt tokens from the decode's prefix cache."""

    sent: list[Probe]
    answers: ApiAnswers
    alone: Mapping[str, Mapping[ApiKind, Answer]]
    replies: Replies
    observed: Observed
    traffic: Traffic
    reused: int | None


class Investigation:
    """One run. The references run from the first moment on: they use neither connector nor router, so they
    do not disturb what is counted about the others, and no engine idles."""

    def __init__(
        self, session: ProbeSession, trial: Trial, run: str, phases: Phases, *, thorough: bool
    ) -> None:
        self.session, self.trial, self.run, self.phases = session, trial, run, phases
        self.thorough = thorough
        self._began = session.clock.now()
        self._expired_soon: int | None = None
        self.prefill, self.decode = session.prefills[0], session.decodes[0]
        self._sent: list[Probe] = []
        by_length = sorted(trial.probes, key=lambda probe: len(probe.tokens))
        self._shorter = by_length[: 2 * len(by_length) // 3]
        self._longer_phase = f"{self.decode.name} alone, longer"
        self._cold: dict[str, dict[int, Future[Reply]]] = {"prefill": {}, "decode": {}}
        self._warm: dict[str, dict[int, Future[Reply]]] = {"prefill": {}, "decode": {}}

    def perform(self) -> ProbeRun:
        """Send it all. Raises `AnswerProblem` when an engine's counters cannot be read, and `Stalled`."""
        session, trial = self.session, self.trial
        prefill_then, decode_then = session.counts(session.prefills), session.counts(session.decodes)
        session.on_poll = self._look_for_expired
        requests = ApiRequests(session.plan.model, session.settings, self.phases, chat=trial.no_chat is None)
        through_router = requests.start(session.router)
        # The decode is busy with the document's answer anyway, the prefill has prompts to compute.
        alone = {
            engine.name: requests.start_alone(engine, self._salt(engine), whole=engine is self.decode)
            for engine in (self.prefill, self.decode)
        }
        self._cold["decode"] = self._references(self.decode, self._shorter)
        self._cold["prefill"] = self._references(self.prefill, trial.chosen(trial.twice))
        self._await_transfers(decode_then, through_router)
        window_then = session.counts(session.decodes)
        routed, single = self._send_probes()
        window = session.wait_for_counter(session.decodes, window_then, "transfers", len(self._sent))
        again = self._together("probes again", trial.probes[-session.settings.probes.again :])
        reused = session.counts(session.decodes).since(window_then)["local_hits"]
        session.gather([*through_router.futures, *_all(alone.values()), *_all(self._cold.values())])
        session.gather(_all(self._warm.values()))
        replies = Replies(
            routed=routed,
            again=again,
            prefill=_results(self._cold["prefill"]),
            decode=_results(self._cold["decode"]),
            prefill_warm=_results(self._warm["prefill"]),
            decode_warm=_results(self._warm["decode"]),
        )
        answers = through_router.answers()
        answers_alone = {
            name: {kind: future.result() for kind, future in kinds.items()} for name, kinds in alone.items()
        }
        traffic = self._traffic(replies, answers, answers_alone)
        prefill = self._settled("prefill", session.prefills, prefill_then, traffic)
        soon = self._expired_soon
        observed = Observed(
            window=window,
            prefill=prefill,
            decode=self._settled("decode", session.decodes, decode_then, traffic),
            single=single,
            abandoned=(prefill["expired"] if soon is None else soon - (prefill_then["expired"] or 0)) or 0,
        )
        return ProbeRun(self._sent, answers, answers_alone, replies, observed, traffic, reused)

    def _send_probes(self) -> tuple[dict[int, Reply], Single]:
        """One by one, together, the longer ones; what engines alone are asked once more goes beside them."""
        trial = self.trial
        routed, single = self._one_by_one(trial.chosen(trial.lone))
        # Not before: a step with a long prompt would hold up those that wait for the decode one by one.
        longer = [probe for probe in trial.probes if probe not in self._shorter]
        self._cold["decode"] |= self._references(self.decode, longer, self._longer_phase)
        others = [probe for probe in trial.probes if probe.index not in trial.lone]
        routed |= self._together("probes together", others)
        self._sent = list(trial.probes)
        for side, engine in (("prefill", self.prefill), ("decode", self.decode)):
            self.session.gather(self._cold[side].values())
            warm = trial.warm[engine.name]
            if warm:
                # All at once, the last token in a step of its own: as the decode of a hand-over computes it.
                self._warm[side] = self._start(f"{engine.name} warm", engine, warm, len(warm))
        for probe in filter(self._affordable, trial.longer):
            phase = f"{len(probe.tokens)} tokens"
            self._cold["decode"] |= self._references(self.decode, [probe], f"{phase} alone")
            routed |= self._together(phase, [probe])
            self._sent.append(probe)
        return routed, single

    def _look_for_expired(self) -> None:
        """Read, as late as it can be told, how many hand-overs have expired: none of ours is old enough."""
        lease_s = self.session.settings.waits.lease_s - 1
        if self._expired_soon is None and self.session.clock.now() - self._began >= lease_s:
            self._expired_soon = self.session.counts(self.session.prefills)["expired"] or 0

    def _salt(self, endpoint: Endpoint) -> str:
        """It names the path: no path finds another's KV in a prefix cache."""
        return f"{self.run}-{endpoint.name}"

    def _references(
        self, engine: Endpoint, probes: Sequence[Probe], name: str = ""
    ) -> dict[int, Future[Reply]]:
        """Few at a time: a long step of prompt work would hold up the transfers that run beside it."""
        at_once = self.session.settings.probes.references_in_flight
        return self._start(name or f"{engine.name} alone", engine, probes, at_once)

    def _one_by_one(self, probes: Sequence[Probe]) -> tuple[dict[int, Reply], Single]:
        name, session = "probes one by one", self.session
        self.phases.begin(name, len(probes))
        replies, single = {}, []
        for probe in probes:
            then = session.counts(session.decodes)
            (future,) = side_by_side([partial(self._ask, session.router, probe, name)], 1)
            session.gather([future])
            replies[probe.index] = future.result()
            moved = session.wait_for_counter(session.decodes, then, "transfers", 1)
            single.append((len(probe.tokens), moved["bytes"]))
        return replies, single

    def _together(self, name: str, probes: Sequence[Probe]) -> dict[int, Reply]:
        futures = self._start(name, self.session.router, probes, self.session.settings.probes.in_flight)
        self.session.gather(futures.values())
        return _results(futures)

    def _start(
        self, name: str, endpoint: Endpoint, probes: Sequence[Probe], at_once: int
    ) -> dict[int, Future[Reply]]:
        self.phases.begin(name, len(probes))
        futures = side_by_side([partial(self._ask, endpoint, probe, name) for probe in probes], at_once)
        return {probe.index: future for probe, future in zip(probes, futures, strict=True)}

    def _ask(self, endpoint: Endpoint, probe: Probe, phase: str) -> Reply:
        """One probe, one path."""
        probes, model = self.session.settings.probes, self.session.plan.model
        salt = self._salt(endpoint)
        body = greedy(model, probe.tokens, probes.max_tokens, probes.top_logprobs, salt)
        try:
            steps = steps_of(endpoint.post(COMPLETIONS, body))
            lacking = f"{endpoint.name}: the answer has no tokens with logprobs"
            return Reply(steps) if steps else Reply(error=lacking)
        except AnswerProblem as problem:
            return Reply(error=str(problem))
        finally:
            self.phases.step(phase)

    def _await_transfers(self, decode_then: Counts, requests: RunningRequests) -> None:
        """Until what users send has got its KV: what moves after that belongs to the probes. The rest of
        those answers may take its time beside the probes."""
        session = self.session

        def fetched() -> bool:
            moved = session.counts(session.decodes).since(decode_then)["transfers"]
            return moved is not None and moved >= len(requests.futures)

        session.gather(requests.futures, fetched)

    def _affordable(self, probe: Probe) -> bool:
        """Whether an engine would take no longer for it than there is time, as fast as it was until now."""
        tokens = sum(len(sent.tokens) for sent in self.trial.probes if sent not in self._shorter)
        expected_s = len(probe.tokens) * self.phases.seconds(self._longer_phase) / tokens
        return self.thorough or expected_s <= self.session.settings.probes.longest_s

    def _traffic(
        self, replies: Replies, answers: ApiAnswers, alone: Mapping[str, Mapping[ApiKind, Answer]]
    ) -> Traffic:
        tokens = {probe.index: len(probe.tokens) for probe in self._sent}
        count = self.session.settings.probes.max_tokens

        def probes(sent: Mapping[int, Reply]) -> Workload:
            return workload([tokens[index] for index in sent], count)

        def users(engine: Endpoint) -> Workload:
            loads = [
                Workload(1, usage_of(answer, "prompt"), usage_of(answer, "completion"))
                for answer in alone[engine.name].values()
            ]
            return sum(loads, Workload())

        unsalted = Workload(answers.count, answers.prompt_tokens(), answers.generated())
        cacheable = probes(replies.again) + unsalted
        return Traffic(
            routed=probes(replies.routed) + cacheable,
            cacheable=cacheable,
            cold={
                "prefill": probes(replies.prefill) + users(self.prefill),
                "decode": probes(replies.decode) + users(self.decode),
            },
            warm={"prefill": probes(replies.prefill_warm), "decode": probes(replies.decode_warm)},
            stopped=answers.count,
        )

    def _settled(self, role: str, side: Sequence[Endpoint], then: Counts, traffic: Traffic) -> Counts:
        expected = traffic.routed + traffic.cold[role] + traffic.warm[role]
        return self.session.wait_for_counter(side, then, "requests", expected.requests)


def _all(groups: Iterable[Mapping[Any, Future[Any]]]) -> list[Future[Any]]:
    return [future for group in groups for future in group.values()]


def _results(sent: Mapping[int, Future[Reply]]) -> dict[int, Reply]:
    return {index: future.result() for index, future in sent.items()}
