"""Every prefill with every decode, asked directly: which of them a request meets is the router's choice.

Only where there are several of a role. A probe goes as a router would send it, to the prefill and then, with
what that answers, to the decode; the pair's own counters say what moved, and the answer is compared with the
engines' alone. It comes last, so that nothing that is counted about the other requests is disturbed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from heteropd.engine_api.answers import steps_of
from heteropd.engine_api.client import AnswerProblem, Endpoint, greedy
from heteropd.engine_api.handover import prefill_request
from heteropd.engine_api.metrics import Counts
from heteropd.plan.pairs import Names, crossed, rounds
from heteropd.proof import kv_transfer
from heteropd.proof.accounting import ExpectedTransfer, check, missing
from heteropd.proof.compare import compare, judge, worst
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.integrity import MEND, Replies, Reply
from heteropd.proof.probes import Probe
from heteropd.proof.progress import Phases
from heteropd.proof.session import ProbeSession
from heteropd.proof.verdict import Check, Evidence, Outcome

_PHASE = "pairs of engines"
_PATH = "/v1/completions"


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


def hold(lab: ProbeSession, probes: Sequence[Probe], run: str, phases: Phases) -> PairResults | None:
    """Send ``probes`` through every pair, at most about 64 of them; None where there is one pair. Pairs
    without a common engine go side by side, so an engine's counters are one pair's."""
    known = len(lab.prefills) * len(lab.decodes)
    if known == 1:
        return None
    ends = {one.name: one for one in (*lab.prefills, *lab.decodes)}
    pairs = crossed([one.name for one in lab.prefills], [one.name for one in lab.decodes])
    host = _Host(lab, probes, run, phases)
    phases.begin(_PHASE, len(pairs) * len(probes))
    found: dict[Names, PairResult] = {}
    for together in rounds(pairs):
        jobs = [partial(host.meet, ends[one], ends[other]) for one, other in together]
        futures = side_by_side(jobs, lab.settings.probes.in_flight)
        found |= {names: future.result() for names, future in zip(together, futures, strict=True)}
    return PairResults(probes, {names: found[names] for names in pairs}, known)


@dataclass(frozen=True)
class _Host:
    """Brings two engines together."""

    lab: ProbeSession
    probes: Sequence[Probe]
    run: str
    phases: Phases

    def meet(self, prefill: Endpoint, decode: Endpoint) -> PairResult:
        prefill_then, decode_then = prefill.counts(), decode.counts()
        replies = {}
        for probe in self.probes:
            replies[probe.index] = self._handed_over(prefill, decode, probe)
            self.phases.step(_PHASE)
        received = self.lab.settle([decode], decode_then, "transfers", len(self.probes))
        served = self.lab.settle([prefill], prefill_then, "requests", len(self.probes))
        return PairResult(replies, received, served["requests"])

    def _handed_over(self, prefill: Endpoint, decode: Endpoint, probe: Probe) -> Reply:
        asked = self.lab.settings.probes
        salt = f"{self.run}-{prefill.name}-{decode.name}"
        body = greedy(self.lab.plan.model, probe.tokens, asked.max_tokens, asked.top_logprobs, salt)
        try:
            kept = prefill.post(_PATH, prefill_request(body)).get("kv_transfer_params")
            if not kept:
                return Reply(error=f"{prefill.name} kept no KV for {decode.name}")
            steps = steps_of(decode.post(_PATH, {**body, "kv_transfer_params": kept}))
            return Reply(steps) if steps else Reply(error=f"{decode.name}: no tokens with logprobs")
        except AnswerProblem as problem:
            return Reply(error=str(problem))


def checks(found: PairResults, expected: ExpectedTransfer, references: Replies, bound: float) -> list[Check]:
    """One of each group: what moved between every pair, and what came of it. ``expected`` is of all probes
    of the run; ``bound`` is in nats."""
    return [_moved(found, expected), _right(found, references, bound)]


def _moved(found: PairResults, expected: ExpectedTransfer) -> Check:
    sent = ExpectedTransfer(
        prompt_tokens=[len(one.tokens) for one in found.probes],
        wire_block=expected.wire_block,
        token_bytes=expected.token_bytes,
        layers=expected.layers,
    )
    judged = {names: kv_transfer.check_bytes(sent, one.received).status for names, one in found.tried.items()}
    if all(status == "SKIP" for status in judged.values()):
        return missing("pairs", "vllm:nixl_bytes_transferred")
    wrong = [
        _named(names)
        for names, one in found.tried.items()
        if judged[names] != "PASS" or one.served not in (None, len(found.probes))
    ]
    evidence: Evidence = {
        **_counted(found, wrong),
        "bytes": [one.received["bytes"] or 0 for one in found.tried.values()],
    }
    text = f"{_of(found, wrong)} moved exactly their blocks"
    fix = "make logs of the two; a firewall between them, or a side channel that is not reached"
    return check("pairs", "FAIL" if wrong else "PASS", text, evidence, fix)


def _right(found: PairResults, references: Replies, bound: float) -> Check:
    outcomes = {names: _outcome(one, references, bound) for names, one in found.tried.items()}
    wrong = [
        _named(names) for names, outcome in outcomes.items() if outcome not in ("equal", "tie", "unknown")
    ]
    lost = [reply.error for one in found.tried.values() for reply in one.replies.values() if reply.error]
    text = f"{_of(found, wrong)} give the answers of the engines alone"
    return Check(
        id="integrity.pairs",
        group="integrity",
        status="FAIL" if wrong else "PASS",
        says=f"{text}: {lost[0]}" if lost else text,
        evidence={**_counted(found, wrong), "bound": bound},
        fix=MEND if wrong else None,
    )


def _outcome(one: PairResult, references: Replies, bound: float) -> Outcome:
    found: list[Outcome] = []
    for index, reply in one.replies.items():
        alone = references.references(index).values()
        found += [judge(compare(ref.steps, reply.steps), bound) for ref in alone] or ["error"]
        found += ["error"] if reply.error else []
    return worst(found)


def _counted(found: PairResults, wrong: list[str]) -> Evidence:
    return {
        "pairs": found.known,
        "tried": len(found.tried),
        "prompt_tokens": [len(one.tokens) for one in found.probes],
        "wrong": wrong,
    }


def _of(found: PairResults, wrong: list[str]) -> str:
    tried = len(found.tried)
    text = f"{tried - len(wrong)} of {tried} pairs"
    if tried < found.known:
        text += f" (of {found.known:,}; every engine is in one of them)"
    return f"{text}, but not {', '.join(wrong[:4])}{' …' if len(wrong) > 4 else ''}," if wrong else text


def _named(names: Names) -> str:
    return " with ".join(names)
