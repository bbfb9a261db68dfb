"""What the engines of a topology counted between two moments."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from heteropd.bench.figures import known_sum
from heteropd.bench.load.model import KvEvidence, RequestResult
from heteropd.engine_api import metrics
from heteropd.engine_api.client import Endpoint
from heteropd.engine_api.metrics import Counts
from heteropd.plan.model import Plan
from heteropd.system import Clock, parallel_map

_SECONDS = {"handover_s": "vllm:nixl_xfer_time_seconds", "post_s": "vllm:nixl_post_time_seconds"}
_SETTLED_S, _LOOK_S = 15.0, 0.3


@dataclass(frozen=True)
class Reading:
    """All engines at one moment, summed over each side; seconds of transfers over all of them."""

    prefill: Counts
    decode: Counts
    seconds: dict[str, float]

    @classmethod
    def take(cls, engines: Sequence[Endpoint], plan: Plan) -> "Reading":
        """Ask every engine. Raises `AnswerProblem`."""
        pages = dict(
            zip([engine.name for engine in engines], parallel_map(Endpoint.metrics, engines), strict=True)
        )
        sides = {
            side: Counts.sum(Counts.of(pages[role.name]) for role in plan.of(side))
            for side in ("prefill", "decode")
        }
        add = partial(metrics.total, labels={})
        seconds = {
            key: sum(add(page, name) or 0.0 for page in pages.values()) for key, name in _SECONDS.items()
        }
        return cls(sides["prefill"], sides["decode"], seconds)

    @classmethod
    def settled(cls, engines: Sequence[Endpoint], plan: Plan, clock: Clock) -> "Reading":
        """As soon as nothing runs and two looks agree: an engine counts a step after it has answered."""
        deadline, last = clock.now() + _SETTLED_S, cls.take(engines, plan)
        while True:
            clock.sleep(_LOOK_S)
            now = cls.take(engines, plan)
            busy = any(side[name] for side in (now.prefill, now.decode) for name in ("running", "waiting"))
            if (now == last and not busy) or clock.now() > deadline:
                return now
            last = now


def evidence(
    before: Reading, after: Reading, requests: Sequence[RequestResult], slot: tuple[int, int | None] | None
) -> KvEvidence:
    """What moved, beside what these requests call for. ``slot``: tokens of a block as the peer addresses it,
    and bytes of a token; None where no KV is to move."""
    prefill, decode = after.prefill.since(before.prefill), after.decode.since(before.decode)
    expected: int | None = 0
    if slot:
        tokens, size = slot
        blocks = sum(-(-request.prompt_tokens // tokens) for request in requests)
        expected = None if size is None else blocks * tokens * size
    seconds = {name: after.seconds[name] - before.seconds[name] for name in _SECONDS}
    return KvEvidence(
        expected_bytes=expected,
        recomputed_tokens=decode["computed"],
        external_tokens=decode["external_hits"],
        cached_tokens=known_sum(prefill["local_hits"], decode["local_hits"]),
        prefill_requests=prefill["requests"],
        decode_requests=decode["requests"],
        **seconds,
        **{
            name: known_sum(prefill[name], decode[name]) for name in KvEvidence.model_fields if name in decode
        },
    )
