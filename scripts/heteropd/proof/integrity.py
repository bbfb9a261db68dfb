"""Is the KV cache right? Every probe's disaggregated answer against the same prompt on each engine alone."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from heteropd.config.validation import Noise, NoiseLimits
from heteropd.engine_api.responses import Step
from heteropd.findings import Evidence
from heteropd.plan.model import KVGeometry
from heteropd.proof.compare import Comparison, compare, floor_of, judge, run_statistic, worst
from heteropd.proof.probes import Probe
from heteropd.proof.verdict import Check, Floor, Outcome, ProbeResult, Sent, checked, measured, skipped

FIX = "see the probes table in the report: which lengths fail says which blocks are wrong (docs/proof.md)"
GOOD: tuple[Outcome, ...] = ("equal", "tie", "unknown")

Pair = tuple[KVGeometry, KVGeometry]


@dataclass(frozen=True)
class Reply:
    """The generated steps, or the sentence that came instead."""

    steps: Sequence[Step] = ()
    error: str | None = None


@dataclass(frozen=True)
class Replies:
    """By probe index: through the router, some ``again``, and by each engine alone (the prefill engine
    has a subset), and some of these once more, ``warm``, from its prefix cache."""

    routed: Mapping[int, Reply]
    again: Mapping[int, Reply]
    prefill: Mapping[int, Reply]
    decode: Mapping[int, Reply]
    prefill_warm: Mapping[int, Reply] = field(default_factory=dict)
    decode_warm: Mapping[int, Reply] = field(default_factory=dict)

    def references(self, index: int) -> dict[str, Reply]:
        replies = {"prefill": self.prefill.get(index), "decode": self.decode.get(index)}
        return {name: reply for name, reply in replies.items() if reply is not None and reply.steps}


def measure_floor(replies: Replies, dtype: str, noise: Noise, limits: NoiseLimits) -> Floor:
    """Prefill engine alone against decode engine alone, on the prompts that both computed, and each against
    itself on those that it was asked again."""
    warm = [
        *_compared(replies.prefill, replies.prefill_warm),
        *_compared(replies.decode, replies.decode_warm),
    ]
    return floor_of(_compared(replies.prefill, replies.decode), warm, dtype, noise, limits)


def _compared(one: Mapping[int, Reply], other: Mapping[int, Reply]) -> list[Comparison]:
    return [compare(one[index].steps, other[index].steps) for index in sorted(one.keys() & other.keys())]


def judge_probe(probe: Probe, sent: Sent, replies: Replies, bound: float, pair: Pair) -> ProbeResult:
    """One row of the probes table. ``bound`` in nats; ``pair`` is the prefill's and the decode's geometry."""
    answers = replies.again if sent == "again" else replies.routed
    routed = answers.get(probe.index, Reply(error="was not sent"))
    references = replies.references(probe.index)
    error = routed.error or (None if references else "no engine answered this prompt alone")
    compared = [] if error else [compare(reply.steps, routed.steps) for reply in references.values()]
    splits = [comparison for comparison in compared if comparison.diverged_at is not None]
    split = min(splits, key=lambda comparison: comparison.diverged_at or 0, default=None)
    prefill, decode = pair
    return ProbeResult(
        index=probe.index,
        prompt_tokens=len(probe.tokens),
        sent=sent,
        prefill_blocks=probe.blocks(prefill.block_size),
        decode_blocks=probe.blocks(decode.block_size),
        wire_blocks=probe.blocks(prefill.wire_block_size),
        outcome="error" if error else worst(judge(comparison, bound) for comparison in compared),
        against=sorted(references),
        diverged_at=split.diverged_at if split else None,
        gap=split.gap if split else None,
        distance=_largest(comparison.largest for comparison in compared),
        mean=_largest(comparison.mean for comparison in compared),
        error=error,
    )


def checks(
    results: Sequence[ProbeResult], replies: Replies, floor: Floor, least: int, bound: float
) -> list[Check]:
    """Answers, tokens, distributions, the run as a whole. ``least`` counts probes, ``bound`` is in nats."""
    judged = [result for result in results if result.outcome != "error"]
    return [
        _check_answered(results, replies, least),
        _check_tokens(judged, bound),
        _check_distributions(judged, bound),
        _check_shift(judged, replies, floor),
    ]


def check_lengths(results: Sequence[ProbeResult], longest: int) -> Check:
    """How long the prompts were. ``longest`` is what the engines would take."""
    sent = max((result.prompt_tokens for result in results), default=0)
    evidence: Evidence = {"longest_sent": sent, "longest_possible": longest}
    if sent < longest:
        text = f"no prompt of more than {sent:,} tokens was sent, where the engines take {longest:,}"
        return skipped(
            "integrity.lengths", text, evidence=evidence, fix="thorough=1 sends one, whatever it costs"
        )
    return checked(
        "integrity.lengths", None, f"prompts of up to {sent:,} tokens, the longest there are", evidence
    )


def check_reuse(results: Sequence[ProbeResult], reused: int | None) -> Check:
    """The same prompts again: what a prefix cache holds and what is pulled must fit together.

    vLLM pulls the *last* blocks of a prompt whose first ones the decode has cached, which are the wrong ones
    where the decode's blocks are larger than the prefill's: wrong KV, HTTP 200 (compare vllm #50558, #42554).
    ``reused`` counts prompt tokens that the decode found in its prefix cache, None if it does not count them.
    """
    wrong = [result.prompt_tokens for result in results if result.outcome not in GOOD]
    lost = next((result.error for result in results if result.error), None)
    text = lost or f"{len(results) - len(wrong)} of {len(results)} probes sent again give the same answer"
    fix = "give the decode engine --no-enable-prefix-caching (decode: prefix_caching: false)"
    return checked(
        "integrity.reuse",
        text if wrong else None,
        text,
        {"tokens_from_decode_cache": reused, "wrong_at_lengths": wrong},
        "read the logs (make logs)" if lost else fix,
    )


def _check_answered(results: Sequence[ProbeResult], replies: Replies, least: int) -> Check:
    errors = [result.error for result in results if result.error]
    sides = (replies.prefill, replies.decode, replies.prefill_warm, replies.decode_warm)
    alone = [reply for side in sides for reply in side.values()]
    lost = [reply.error for reply in alone if reply.error]
    problem = None
    if errors or lost:
        problem = f"{len(errors) + len(lost)} requests failed: {[*errors, *lost][0]}"
    elif len(results) < least:
        problem = f"only {len(results)} of at least {least} probes fit into max_model_len"
    return checked(
        "integrity.answered",
        problem,
        f"{len(results)} probes answered by the topology and by the engines alone",
        {"probes": len(results), "failed": len(errors), "failed_alone": len(lost)},
        "read the logs of the role named here (make logs)",
    )


def _check_tokens(judged: Sequence[ProbeResult], bound: float) -> Check:
    wrong = [result.prompt_tokens for result in judged if result.outcome == "diverged"]
    ties = sum(result.outcome == "tie" for result in judged)
    text = f"{len(judged) - len(wrong)} of {len(judged)} probes give the tokens of the engines alone"
    text += f", {ties} of them up to a tie" if ties else ""
    again = [result.prompt_tokens for result in judged if result.first_distance is not None]
    text += f", {len(again)} by a second opinion" if again else ""
    evidence: Evidence = {
        "probes": len(judged),
        "ties": ties,
        "second_opinion_at_lengths": again,
        "diverged_at_lengths": wrong,
        "bound": bound,
    }
    return measured("integrity.tokens", bool(judged) and not wrong, text, evidence, FIX)


def _check_distributions(judged: Sequence[ProbeResult], bound: float) -> Check:
    distances = [result.distance for result in judged if result.distance is not None]
    if not judged or len(distances) < len(judged):
        return skipped(
            "integrity.distributions",
            "an answer came without log-probabilities, so the distributions were not compared",
            essential=True,
            fix="use engines and a router that let logprobs through",
        )
    beyond = [result for result in judged if result.distance and result.distance > bound]
    far = [result.prompt_tokens for result in beyond if result.outcome not in GOOD]
    noisy = sum(result.outcome in GOOD for result in beyond)
    text = f"largest log-probability difference {max(distances):.3g} nats, {bound:.3g} allowed"
    text += f"; {noisy} within the noise of its own prompt" if noisy else ""
    evidence: Evidence = {"largest": max(distances), "bound": bound, "far_at_lengths": far}
    return measured("integrity.distributions", not far, text, evidence, FIX)


def _check_shift(judged: Sequence[ProbeResult], replies: Replies, floor: Floor) -> Check:
    """A small fault in every probe hides below the largest noise but moves the middle of the distribution."""
    indexes = [result.index for result in judged if result.index in replies.decode]
    pairs = [compare(replies.decode[index].steps, replies.routed[index].steps) for index in indexes]
    middle = run_statistic(pairs)
    if middle is None or floor.run_bound is None:
        return skipped(
            "integrity.shift",
            "no noise floor, so the run as a whole was not compared with it",
            essential=True,
            fix="see identity.weights",
        )
    text = (
        f"typical difference {middle:.3g} nats, {floor.run_bound:.3g} allowed "
        f"({floor.median or 0:.3g} between the engines alone, {floor.warm_median or 0:.3g} cold against warm)"
    )
    evidence: Evidence = {
        "median": middle,
        "bound": floor.run_bound,
        "floor_median": floor.median,
        "floor_warm_median": floor.warm_median,
        "mean": statistics.fmean(pair.mean or 0.0 for pair in pairs),
    }
    return measured("integrity.shift", middle <= floor.run_bound, text, evidence, FIX)


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
