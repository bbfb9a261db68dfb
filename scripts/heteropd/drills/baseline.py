"""What the topology answers when it is well, and whether another answer is the same."""

import secrets
from dataclasses import dataclass

from heteropd.config.drills import DrillRequests
from heteropd.config.validation import Settings
from heteropd.engine_api.client import AnswerProblem, Endpoint, EngineClient
from heteropd.engine_api.requests import Json, greedy
from heteropd.engine_api.responses import EngineResponse, Step
from heteropd.errors import KitError
from heteropd.plan.model import Plan
from heteropd.proof.compare import compare, floor_of, judge
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.probes import Probe, build


@dataclass(frozen=True)
class ReferenceAnswer:
    """A prompt with the answer of the decode engine alone."""

    probe: Probe
    max_tokens: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Baseline:
    """``short``, ``streamed`` and ``long`` are prompts with known answers; ``bound`` (nats) is what noise
    explains, measured between the engines as `validate` does; ``patience_s`` is how long `validate` waits for
    an answer."""

    model: str
    short: tuple[ReferenceAnswer, ...]
    streamed: ReferenceAnswer
    long: ReferenceAnswer
    bound: float
    top: int
    patience_s: float

    def body(self, known: ReferenceAnswer, *, max_tokens: int | None = None) -> Json:
        """A request for the known answer that no prefix cache knows."""
        count = max_tokens or known.max_tokens
        return greedy(self.model, known.probe.tokens, count, self.top, secrets.token_hex(8))

    def differs(self, known: ReferenceAnswer, answer: EngineResponse) -> str | None:
        """How an answer differs from the healthy one beyond noise, None when it does not.

        One that was cut off is compared as far as it came.
        """
        wanted = known.steps[: len(answer.steps)] if answer.kind in ("cut", "late") else known.steps
        comparison = compare(wanted, answer.steps)
        outcome = judge(comparison, self.bound)
        if outcome in ("equal", "tie") or not (wanted or answer.steps):
            return None
        where = "" if comparison.diverged_at is None else f" from token {comparison.diverged_at + 1} on"
        largest = comparison.largest if comparison.largest is not None else float("nan")
        return f"{outcome}{where}, {largest:.3g} nats off where {self.bound:.2g} are noise"


def measure(plan: Plan, requests: DrillRequests, settings: Settings, client: EngineClient) -> Baseline:
    """Ask each engine alone. Raises KitError when one does not answer, or when the topology's answer is not
    theirs: a drill of a topology that is wrong already would prove nothing."""
    prefill, decode = plan.of("prefill")[0], plan.of("decode")[0]
    lengths = [requests.prompt + index for index in range(requests.references)]
    lengths += [requests.prompt + requests.references, requests.long_prompt]
    counts = [requests.answer] * requests.references + [requests.stream, requests.answer]
    probes = build(lengths, _words(plan, settings, client), secrets.token_hex(8))
    limit_s = settings.waits.request_s

    def alone(url: str, probe: Probe, count: int) -> EngineResponse:
        body = greedy(plan.model, probe.tokens, count, requests.top_logprobs, secrets.token_hex(8))
        return client.complete(url, body, limit_s=limit_s)

    jobs = [
        (lambda url=role.url, probe=probe, count=count: alone(url, probe, count))
        for role in (prefill, decode)
        for probe, count in zip(probes, counts, strict=True)
    ]
    answers = [future.result() for future in side_by_side(jobs, 2 * len(probes))]
    bad = next((answer for answer in answers if not answer.ok), None)
    if bad:
        raise KitError(f"the topology is not well: an engine alone answers {bad.short}; see `make status`")
    steps = [tuple(answer.steps) for answer in answers]
    prefill_steps, decode_steps = steps[: len(probes)], steps[len(probes) :]
    dtype = decode.dtype or "bfloat16"
    limits = settings.limits_for(dtype)
    pairs = map(compare, prefill_steps, decode_steps)
    floor = floor_of(pairs, [], dtype, settings.noise, limits)
    most = settings.noise.times_largest * limits.most_position
    known = [ReferenceAnswer(*parts) for parts in zip(probes, counts, decode_steps, strict=True)]
    healthy = Baseline(
        plan.model,
        tuple(known[:-2]),
        known[-2],
        known[-1],
        min(floor.position_bound or limits.least_position, most),
        requests.top_logprobs,
        limit_s,
    )
    for reference in healthy.short:
        routed = client.complete(plan.router.url, healthy.body(reference), limit_s=limit_s)
        wrong = healthy.differs(reference, routed) if routed.ok else routed.short
        if wrong:
            raise KitError(f"the topology is not well before any fault: {wrong}; see `make validate`")
    return healthy


def _words(plan: Plan, settings: Settings, client: EngineClient) -> list[int]:
    role = plan.of("decode")[0]
    engine = Endpoint(client, role.name, role.url, settings.waits.request_s)
    try:
        return sorted(set(engine.tokenize(plan.model, " " + " ".join(settings.words), special=False)))
    except AnswerProblem as problem:
        raise KitError(f"the topology is not well: {problem}; see `make status`") from None
