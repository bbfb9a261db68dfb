"""What the topology answers when it is well, and whether another answer is the same."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from heteropd.config.drills import DrillRequests
from heteropd.config.validation import Settings
from heteropd.engine_api.answers import Step
from heteropd.engine_api.client import AnswerProblem, Endpoint, Json, greedy
from heteropd.engine_api.streaming import StreamedAnswer, ask
from heteropd.errors import KitError
from heteropd.plan.model import Plan
from heteropd.proof.compare import compare, floor_of, judge
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.probes import Probe, build
from heteropd.system import Clock


@dataclass(frozen=True)
class ReferenceAnswer:
    """A prompt with the answer of the decode engine alone."""

    probe: Probe
    max_tokens: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Baseline:
    """``short``, ``streamed`` and ``long`` are prompts with known answers; ``bound`` (nats) is what noise
    explains, measured between the engines as `validate` does."""

    model: str
    short: tuple[ReferenceAnswer, ...]
    streamed: ReferenceAnswer
    long: ReferenceAnswer
    bound: float
    top: int

    def body(self, known: ReferenceAnswer, *, max_tokens: int | None = None) -> Json:
        """A request for the known answer that no prefix cache knows."""
        count = max_tokens or known.max_tokens
        return greedy(self.model, known.probe.tokens, count, self.top, secrets.token_hex(8))

    def differs(self, known: ReferenceAnswer, answer: StreamedAnswer) -> str | None:
        """How an answer differs from the healthy one beyond noise, None when it does not.

        One that was cut off is compared as far as it came.
        """
        wanted = known.steps[: len(answer.steps)] if answer.kind in ("cut", "late") else known.steps
        found = compare(wanted, answer.steps)
        outcome = judge(found, self.bound)
        if outcome in ("equal", "tie") or not (wanted or answer.steps):
            return None
        where = "" if found.diverged_at is None else f" from token {found.diverged_at + 1} on"
        largest = found.largest if found.largest is not None else float("nan")
        return f"{outcome}{where}, {largest:.3g} nats off where {self.bound:.2g} are noise"


def measure(plan: Plan, asked: DrillRequests, settings: Settings, clock: Clock) -> Baseline:
    """Ask each engine alone. Raises KitError when one does not answer, or when the topology's answer is not
    theirs: a drill of a topology that is wrong already would prove nothing."""
    prefill, decode = plan.of("prefill")[0], plan.of("decode")[0]
    lengths = [asked.prompt + index for index in range(asked.references)]
    lengths += [asked.prompt + asked.references, asked.long_prompt]
    counts = [asked.answer] * asked.references + [asked.stream, asked.answer]
    probes = build(lengths, _words(plan, settings), secrets.token_hex(8))
    limit_s = settings.waits.request_s

    def alone(url: str, probe: Probe, count: int) -> StreamedAnswer:
        body = greedy(plan.model, probe.tokens, count, asked.top_logprobs, secrets.token_hex(8))
        return ask(url, body, clock, limit_s)

    jobs = [
        (lambda url=role.url, probe=probe, count=count: alone(url, probe, count))
        for role in (prefill, decode)
        for probe, count in zip(probes, counts, strict=True)
    ]
    answers = [future.result() for future in side_by_side(jobs, 2 * len(probes))]
    bad = next((one for one in answers if one.kind != "whole"), None)
    if bad:
        raise KitError(f"the topology is not well: an engine alone answers {bad.short}; see `make status`")
    theirs, ours = answers[: len(probes)], answers[len(probes) :]
    limits = settings.limits_for(decode.dtype or "bfloat16")
    pairs = (compare(one.steps, other.steps) for one, other in zip(theirs, ours, strict=True))
    floor = floor_of(pairs, decode.dtype or "bfloat16", settings.noise, limits)
    most = settings.noise.times_largest * limits.most_position
    known = [ReferenceAnswer(*one) for one in zip(probes, counts, (one.steps for one in ours), strict=True)]
    healthy = Baseline(
        plan.model,
        tuple(known[:-2]),
        known[-2],
        known[-1],
        min(floor.position_bound or limits.least_position, most),
        asked.top_logprobs,
    )
    for one in healthy.short:
        routed = ask(plan.router.url, healthy.body(one), clock, limit_s)
        wrong = healthy.differs(one, routed) if routed.kind == "whole" else routed.short
        if wrong:
            raise KitError(f"the topology is not well before any fault: {wrong}; see `make validate`")
    return healthy


def _words(plan: Plan, settings: Settings) -> list[int]:
    engine = Endpoint(plan.of("decode")[0].name, plan.of("decode")[0].url, settings.waits)
    try:
        return sorted(set(engine.tokenize(plan.model, " " + " ".join(settings.words), special=False)))
    except AnswerProblem as problem:
        raise KitError(f"the topology is not well: {problem}; see `make status`") from None
    finally:
        engine.close()
