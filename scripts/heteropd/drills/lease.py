"""KV that is fetched too late: its blocks hold other prompts' by then."""

from functools import partial

from heteropd.drills.model import CannotBePerformed
from heteropd.drills.session import DrillSession
from heteropd.engine_api.client import Endpoint
from heteropd.engine_api.metrics import cache_config
from heteropd.proof.concurrency import side_by_side

_AT_ONCE = 4
_MARGIN = 1.2


def lease_expired(stage: DrillSession) -> None:
    """A client that talks to engines itself: hand over, wait, overwrite the prefill's cache, fetch."""
    known = stage.healthy.short[0]
    prefill = stage.endpoint("prefill")
    handed_over = stage.hand_over(known)
    _overwrite(stage, prefill)
    stage.fault("the lease has ended and the blocks are used again")
    late = stage.ask(stage.first("decode").url, known, handed_over)
    stage.judge("the late fetch", known, late)
    _late_fetches(stage, prefill)
    stage.whole("afterwards, without a restart")


def decode_frozen(stage: DrillSession) -> None:
    """The same through the router, without any mistake of the client: the decode does not run for a while."""
    known, decode = stage.healthy.short[0], stage.first("decode").name
    prefill = stage.endpoint("prefill")
    with stage.frozen(decode):
        waiting = stage.aside(lambda: stage.ask(stage.plan.router.url, known, patient=True))
        _overwrite(stage, prefill)
    stage.fault(f"{decode} runs on; the lease has ended meanwhile and the blocks are used again")
    stage.judge("the request that waited", known, waiting.result())
    _late_fetches(stage, prefill)
    stage.fix(decode)


def _overwrite(stage: DrillSession, prefill: Endpoint) -> None:
    """Wait until the lease is over, then have the prefill compute what fills its whole cache."""
    then, began = prefill.counts()["expired"], stage.clock.now()
    wait = stage.drills.lease_s * _MARGIN
    while stage.clock.now() - began < wait:
        stage.clock.sleep(min(wait, 1.0))
    tokens, long = _cache_tokens(prefill), stage.healthy.long
    count = (prefill.counts()["expired"] or 0) - (then or 0)
    stage.saw(f"after {wait:g} s", f"requests expired by the prefill's count: {count}")
    rounds = 1 + tokens // len(long.probe.tokens)
    jobs = [partial(stage.ask, prefill.url, long, max_tokens=1, patient=True) for _ in range(rounds)]
    answers = [future.result() for future in side_by_side(jobs, _AT_ONCE)]
    bad = next((answer for answer in answers if not answer.ok), None)
    if bad:
        raise CannotBePerformed(f"the prefill's cache could not be overwritten: {bad.short}")
    stage.saw("the prefill's cache", f"overwritten: {rounds} prompts, for room of {tokens} tokens")


def _late_fetches(stage: DrillSession, prefill: Endpoint) -> None:
    """What the prefill noticed of it. It publishes counts with its next step."""
    stage.meanwhile()
    stage.saw(
        "fetches after their lease since the prefill's start", str(prefill.counts()["late_notifications"])
    )
    if "digest" in stage.plan.parameters:
        differ = stage.endpoint("decode").counts()["digests_differs"]
        stage.saw("prompts whose KV digest differs, since the decode's start", str(differ))


def _cache_tokens(engine: Endpoint) -> int:
    """How many tokens the engine's KV cache has room for, as it says itself."""
    cache = cache_config(engine.metrics())
    size, count = cache.get("block_size", ""), cache.get("num_gpu_blocks", "")
    if not (size.isdigit() and count.isdigit()):
        raise CannotBePerformed("the prefill does not say how large its KV cache is (vllm:cache_config_info)")
    return int(size) * int(count)
