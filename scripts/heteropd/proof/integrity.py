"""Is the KV cache right? Every probe's disaggregated answer against the same prompt on each engine alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from heteropd.config.validation import Noise, NoiseLimits
from heteropd.engine_api.answers import Step
from heteropd.plan.model import KVGeometry
from heteropd.proof.compare import Comparison, compare, floor_of, judge, run_statistic, worst
from heteropd.proof.probes import Probe
from heteropd.proof.verdict import Check, Evidence, Floor, ProbeResult, Sent

MEND = "see the probes table in the report: which lengths fail says which blocks are wrong (docs/proof.md)"

Pair = tuple[KVGeometry, KVGeometry]


@dataclass(frozen=True)
class Reply:
    """The generated steps, or the sentence that came instead."""

    steps: Sequence[Step] = ()
    error: str | None = None


@dataclass(frozen=True)
class Replies:
    """By probe index: through the router, some ``again``, and by each engine alone (the prefill engine
    has a subset)."""

    routed: Mapping[int, Reply]
    again: Mapping[int, Reply]
    prefill: Mapping[int, Reply]
    decode: Mapping[int, Reply]

    def references(self, index: int) -> dict[str, Reply]:
        found = {"prefill": self.prefill.get(index), "decode": self.decode.get(index)}
        return {name: reply for name, reply in found.items() if reply is not None and reply.steps}


def measure_floor(replies: Replies, dtype: str, noise: Noise, limits: NoiseLimits) -> Floor:
    """Prefill engine alone against decode engine alone, on the prompts that both computed."""
    both = sorted(replies.prefill.keys() & replies.decode.keys())
    pairs = [compare(replies.prefill[index].steps, replies.decode[index].steps) for index in both]
    return floor_of(pairs, dtype, noise, limits)


def judge_probe(probe: Probe, sent: Sent, replies: Replies, bound: float, pair: Pair) -> ProbeResult:
    """One row of the probes table. ``bound`` in nats; ``pair`` is the prefill's and the decode's geometry."""
    answers = replies.again if sent == "again" else replies.routed
    routed = answers.get(probe.index, Reply(error="was not sent"))
    references = replies.references(probe.index)
    compared = {name: compare(reply.steps, routed.steps) for name, reply in references.items()}
    error = routed.error or (None if references else "no engine answered this prompt alone")
    known = [] if error else list(compared.values())
    split = min((one for one in known if one.diverged_at is not None), key=_where, default=None)
    prefill, decode = pair
    return ProbeResult(
        index=probe.index,
        prompt_tokens=len(probe.tokens),
        sent=sent,
        prefill_blocks=probe.blocks(prefill.block_size),
        decode_blocks=probe.blocks(decode.block_size),
        wire_blocks=probe.blocks(prefill.wire_block_size),
        outcome="error" if error else worst(judge(one, bound) for one in known),
        against=sorted(references),
        diverged_at=split.diverged_at if split else None,
        gap=split.gap if split else None,
        distance=_largest(one.largest for one in known),
        mean=_largest(one.mean for one in known),
        error=error,
    )


def _where(comparison: Comparison) -> int:
    return -1 if comparison.diverged_at is None else comparison.diverged_at


def checks(
    results: Sequence[ProbeResult], replies: Replies, floor: Floor, least: int, bound: float
) -> list[Check]:
    """Answers, tokens, distributions, the run as a whole. ``least`` counts probes, ``bound`` is in nats."""
    return [
        _answered(results, replies, least),
        _tokens(results, bound),
        _distributions(results, bound),
        _shift(results, replies, floor),
    ]


def check_reuse(results: Sequence[ProbeResult], reused: int | None) -> Check:
    """The same prompts again: what a prefix cache holds and what is pulled must fit together.

    vLLM pulls the *last* blocks of a prompt whose first ones the decode has cached, which are the wrong ones
    where the decode's blocks are larger than the prefill's: wrong KV, HTTP 200 (compare vllm #50558, #42554).
    ``reused`` counts prompt tokens that the decode found in its prefix cache, None if it does not count them.
    """
    wrong = [one.prompt_tokens for one in results if one.outcome not in ("equal", "tie", "unknown")]
    lost = next((one.error for one in results if one.error), None)
    fix = "give the decode engine --no-enable-prefix-caching (decode: prefix_caching: false)"
    return Check(
        id="integrity.reuse",
        group="integrity",
        status="FAIL" if wrong else "PASS",
        says=lost or f"{len(results) - len(wrong)} of {len(results)} probes sent again give the same answer",
        evidence={"tokens_from_decode_cache": reused, "wrong_at_lengths": wrong},
        fix="read the logs (make logs)" if lost else fix if wrong else None,
    )


def _answered(results: Sequence[ProbeResult], replies: Replies, least: int) -> Check:
    errors = [one.error for one in results if one.error]
    lost = [
        reply.error for side in (replies.prefill, replies.decode) for reply in side.values() if reply.error
    ]
    problem = next(iter([*errors, *lost]), None)
    if problem is None and len(results) < least:
        problem = f"only {len(results)} of at least {least} probes fit into max_model_len"
    return Check(
        id="integrity.answered",
        group="integrity",
        status="FAIL" if problem else "PASS",
        says=f"{len(errors) + len(lost)} requests failed: {problem}"
        if problem and (errors or lost)
        else problem or f"{len(results)} probes answered by the topology and by the engines alone",
        evidence={"probes": len(results), "failed": len(errors), "failed_alone": len(lost)},
        fix="read the logs of the role named here (make logs)" if problem else None,
    )


def _tokens(results: Sequence[ProbeResult], bound: float) -> Check:
    judged = [one for one in results if one.outcome != "error"]
    wrong = [one.prompt_tokens for one in judged if one.outcome == "diverged"]
    ties = sum(one.outcome == "tie" for one in judged)
    return _check(
        "tokens",
        not wrong and bool(judged),
        f"{len(judged) - len(wrong)} of {len(judged)} probes give the tokens of the engines alone"
        + (f", {ties} of them up to a tie" if ties else ""),
        {"probes": len(judged), "ties": ties, "diverged_at_lengths": wrong, "bound": bound},
    )


def _distributions(results: Sequence[ProbeResult], bound: float) -> Check:
    judged = [one for one in results if one.outcome != "error"]
    if not judged or any(one.distance is None for one in judged):
        return Check(
            id="integrity.distributions",
            group="integrity",
            status="SKIP",
            says="an answer came without log-probabilities, so the distributions were not compared",
            fix="use engines and a router that let logprobs through",
        )
    far = [one.prompt_tokens for one in judged if one.distance is not None and one.distance > bound]
    largest = max(one.distance or 0.0 for one in judged)
    return _check(
        "distributions",
        not far,
        f"largest log-probability difference {largest:.3g} nats, {bound:.3g} allowed",
        {"largest": largest, "bound": bound, "far_at_lengths": far},
    )


def _shift(results: Sequence[ProbeResult], replies: Replies, floor: Floor) -> Check:
    """A small fault in every probe hides below the largest noise but moves the middle of the distribution."""
    pairs = _against_decode(results, replies)
    middle = run_statistic(pairs)
    if middle is None or floor.run_bound is None:
        return Check(
            id="integrity.shift",
            group="integrity",
            status="SKIP",
            fix="see identity.weights",
            says="no noise floor, so the run as a whole was not compared with it",
        )
    return _check(
        "shift",
        middle <= floor.run_bound,
        f"typical difference {middle:.3g} nats, {floor.run_bound:.3g} allowed "
        f"({floor.median if floor.median is not None else 0:.3g} between the engines alone)",
        {
            "median": middle,
            "bound": floor.run_bound,
            "floor_median": floor.median,
            "mean": statistics.fmean(one.mean or 0.0 for one in pairs),
        },
    )


def _against_decode(results: Sequence[ProbeResult], replies: Replies) -> list[Comparison]:
    indexes = [one.index for one in results if one.outcome != "error" and one.index in replies.decode]
    return [compare(replies.decode[index].steps, replies.routed[index].steps) for index in indexes]


def _largest(values: Iterable[float | None]) -> float | None:
    return max((one for one in values if one is not None), default=None)


def _check(name: str, good: bool, says: str, evidence: Evidence) -> Check:
    return Check(
        id=f"integrity.{name}",
        group="integrity",
        status="PASS" if good else "FAIL",
        says=says,
        evidence=evidence,
        fix=None if good else MEND,
    )
