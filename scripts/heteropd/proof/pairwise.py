"""Every prefill with every decode, asked directly: which of them a request meets is the router's choice.

Only where there are several of a role. A probe goes as a router would send it, to the prefill and then, with
what that answers, to the decode; the pair's own counters say what moved, and the answer is compared with the
engines' alone. It comes last, so that nothing that is counted about the other requests is disturbed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from heteropd.engine_api.client import COMPLETIONS, AnswerProblem, Endpoint
from heteropd.engine_api.metrics import Counts
from heteropd.engine_api.requests import HANDOVER, greedy, prefill_request
from heteropd.engine_api.responses import steps_of
from heteropd.findings import Evidence
from heteropd.plan.pairs import Names, crossed, rounds
from heteropd.proof import kv_transfer
from heteropd.proof.accounting import ExpectedTransfer, uncounted
from heteropd.proof.compare import compare, judge, worst
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.integrity import FIX, GOOD, Replies, Reply
from heteropd.proof.probes import Probe
from heteropd.proof.progress import Phases
from heteropd.proof.session import ProbeSession
from heteropd.proof.verdict import Check, Outcome, measured

_PHASE = "pairs of engines"


@dataclass(frozen=True)
class PairResult:
    """One pair. ``replies`` are by probe index; ``received`` is how far the decode's counters moved, and
    ``served`` how many requests the prefill counted, None where it counts none."""

    replies: Mapping[int, Reply]
    received: Counts
    served: int | None


@dataclass(frozen=True)
class PairResults:
    """All that were tried, by the names of prefill and decode, of ``known`` pairs that there are."""

    probes: Sequence[Probe]
    tried: Mapping[Names, PairResult]
    known: int


def probe_pairs(
    session: ProbeSession, probes: Sequence[Probe], run: str, phases: Phases
) -> PairResults | None:
    """Send ``probes`` through every pair, at most about 64 of them; None where there is one pair. Pairs
    without a common engine go side by side, so an engine's counters are one pair's."""
    known = len(session.prefills) * len(session.decodes)
    if known == 1:
        return None
    engines = {engine.name: engine for engine in (*session.prefills, *session.decodes)}
    pairs = crossed([engine.name for engine in session.prefills], [engine.name for engine in session.decodes])
    phases.begin(_PHASE, len(pairs) * len(probes))
    prober = _PairProber(session, probes, run, phases)
    results: dict[Names, PairResult] = {}
    for together in rounds(pairs):
        jobs = [partial(prober.probe, engines[prefill], engines[decode]) for prefill, decode in together]
        futures = side_by_side(jobs, session.settings.probes.in_flight)
        session.gather(futures)
        results |= {names: future.result() for names, future in zip(together, futures, strict=True)}
    return PairResults(probes, {names: results[names] for names in pairs}, known)


@dataclass(frozen=True)
class _PairProber:
    """Brings two engines together."""

    session: ProbeSession
    probes: Sequence[Probe]
    run: str
    phases: Phases

    def probe(self, prefill: Endpoint, decode: Endpoint) -> PairResult:
        prefill_then, decode_then = prefill.counts(), decode.counts()
        replies = {}
        for probe in self.probes:
            replies[probe.index] = self._hand_over(prefill, decode, probe)
            self.phases.step(_PHASE)
        received = self.session.wait_for_counter([decode], decode_then, "transfers", len(self.probes))
        served = self.session.wait_for_counter([prefill], prefill_then, "requests", len(self.probes))
        return PairResult(replies, received, served["requests"])

    def _hand_over(self, prefill: Endpoint, decode: Endpoint, probe: Probe) -> Reply:
        probes = self.session.settings.probes
        salt = f"{self.run}-{prefill.name}-{decode.name}"
        body = greedy(self.session.plan.model, probe.tokens, probes.max_tokens, probes.top_logprobs, salt)
        try:
            kept = prefill.post(COMPLETIONS, prefill_request(body)).get(HANDOVER)
            if not kept:
                return Reply(error=f"{prefill.name} kept no KV for {decode.name}")
            steps = steps_of(decode.post(COMPLETIONS, {**body, HANDOVER: kept}))
            return Reply(steps) if steps else Reply(error=f"{decode.name}: no tokens with logprobs")
        except AnswerProblem as problem:
            return Reply(error=str(problem))


def checks(
    results: PairResults, expected: ExpectedTransfer, references: Replies, bound: float
) -> list[Check]:
    """One of each group: what moved between every pair, and what came of it. ``expected`` is of all probes
    of the run; ``bound`` is in nats."""
    return [_check_moved(results, expected), _check_right(results, references, bound)]


def _check_moved(results: PairResults, expected: ExpectedTransfer) -> Check:
    sent = replace(expected, prompt_tokens=[len(probe.tokens) for probe in results.probes])
    status = {
        names: kv_transfer.check_bytes(sent, result.received).status
        for names, result in results.tried.items()
    }
    if all(word == "SKIP" for word in status.values()):
        return uncounted("kv_transfer.pairs", "vllm:nixl_bytes_transferred")
    wrong = [
        _named(names)
        for names, result in results.tried.items()
        if status[names] != "PASS" or result.served not in (None, len(results.probes))
    ]
    evidence = {
        **_evidence(results, wrong),
        "bytes": [result.received["bytes"] or 0 for result in results.tried.values()],
    }
    text = f"{_how_many(results, wrong)} moved exactly their blocks"
    fix = "make logs of the two; a firewall between them, or a side channel that is not reached"
    return measured("kv_transfer.pairs", not wrong, text, evidence, fix)


def _check_right(results: PairResults, references: Replies, bound: float) -> Check:
    wrong = [
        _named(names)
        for names, result in results.tried.items()
        if _outcome(result, references, bound) not in GOOD
    ]
    replies = [reply for result in results.tried.values() for reply in result.replies.values()]
    lost = [reply.error for reply in replies if reply.error]
    text = f"{_how_many(results, wrong)} give the answers of the engines alone"
    text += f": {lost[0]}" if lost else ""
    evidence = {**_evidence(results, wrong), "bound": bound}
    return measured("integrity.pairs", not wrong, text, evidence, FIX)


def _outcome(result: PairResult, references: Replies, bound: float) -> Outcome:
    outcomes: list[Outcome] = []
    for index, reply in result.replies.items():
        alone = references.references(index).values()
        outcomes += [judge(compare(ref.steps, reply.steps), bound) for ref in alone] or ["error"]
        outcomes += ["error"] if reply.error else []
    return worst(outcomes)


def _evidence(results: PairResults, wrong: list[str]) -> Evidence:
    return {
        "pairs": results.known,
        "tried": len(results.tried),
        "prompt_tokens": [len(probe.tokens) for probe in results.probes],
        "wrong": wrong,
    }


def _how_many(results: PairResults, wrong: list[str]) -> str:
    tried = len(results.tried)
    text = f"{tried - len(wrong)} of {tried} pairs"
    if tried < results.known:
        text += f" (of {results.known:,}; every engine is in one of them)"
    return f"{text}, but not {', '.join(wrong[:4])}{' …' if len(wrong) > 4 else ''}," if wrong else text


def _named(names: Names) -> str:
    return " with ".join(names)
