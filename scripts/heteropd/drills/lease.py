"""KV that is fetched too late: its blocks hold other prompts' by then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from heteropd.drills.catalogue import drill
from heteropd.drills.model import CannotBePerformed
from heteropd.drills.session import DrillSession
from heteropd.engine_api.client import Endpoint
from heteropd.engine_api.metrics import Counts, parse
from heteropd.proof.concurrency import side_by_side

_CACHE = "vllm:cache_config_info"
_AT_ONCE = 4
_MARGIN = 1.2


@drill("lease-expired")
def lease_expired(stage: DrillSession) -> None:
    """A client that talks to engines itself: hand over, wait, overwrite the prefill's cache, fetch."""
    known = stage.healthy.short[0]
    with _prefill(stage) as prefill:
        handed_over = stage.hand_over(known)
        _overwrite(stage, prefill)
        stage.fault("the lease has ended and the blocks are used again")
        late = stage.ask(stage.first("decode").url, known, handed_over)
        stage.judge("the late fetch", known, late)
        _late_fetches(stage, prefill)
    stage.whole("afterwards, without a restart")


@drill("decode-frozen")
def decode_frozen(stage: DrillSession) -> None:
    """The same through the router, without any mistake of the client: the decode does not run for a while."""
    known, decode = stage.healthy.short[0], stage.first("decode").name
    with _prefill(stage) as prefill:
        with stage.frozen(decode):
            asked = stage.aside(lambda: stage.ask(stage.plan.router.url, known, patient=True))
            _overwrite(stage, prefill)
        stage.fault(f"{decode} runs on; the lease has ended meanwhile and the blocks are used again")
        stage.judge("the request that waited", known, asked.result())
        _late_fetches(stage, prefill)
    stage.fix(decode)


@contextmanager
def _prefill(stage: DrillSession) -> Iterator[Endpoint]:
    role = stage.first("prefill")
    end = Endpoint(role.name, role.url, stage.settings.waits)
    try:
        yield end
    finally:
        end.close()


def _overwrite(stage: DrillSession, prefill: Endpoint) -> None:
    """Wait until the lease is over, then have the prefill compute what fills its whole cache."""
    then, began = Counts.read(prefill.get("/metrics").text)["expired"], stage.clock.now()
    wait = stage.drills.lease_s * _MARGIN
    while stage.clock.now() - began < wait:
        stage.clock.sleep(min(wait, 1.0))
    page = prefill.get("/metrics").text
    expired, tokens, long = Counts.read(page)["expired"], _cache_tokens(page), stage.healthy.long
    count = (expired or 0) - (then or 0)
    stage.saw(f"after {wait:g} s", f"requests expired by the prefill's count: {count}")
    rounds = 1 + tokens // len(long.probe.tokens)
    jobs = [partial(stage.ask, prefill.url, long, max_tokens=1, patient=True) for _ in range(rounds)]
    answers = [one.result() for one in side_by_side(jobs, _AT_ONCE)]
    bad = next((one for one in answers if one.kind != "whole"), None)
    if bad:
        raise CannotBePerformed(f"the prefill's cache could not be overwritten: {bad.short}")
    stage.saw("the prefill's cache", f"overwritten: {rounds} prompts, for room of {tokens} tokens")


def _late_fetches(stage: DrillSession, prefill: Endpoint) -> None:
    """What the prefill noticed of it. It publishes counts with its next step."""
    stage.meanwhile()
    counted = Counts.read(prefill.get("/metrics").text)["late_notifications"]
    stage.saw("fetches after their lease since the prefill's start", str(counted))


def _cache_tokens(page: str) -> int:
    """How many tokens the engine's KV cache has room for, as it says itself."""
    for one in parse(page):
        size, count = one.labels.get("block_size"), one.labels.get("num_gpu_blocks")
        if one.name == _CACHE and size and count and count.isdigit():
            return int(size) * int(count)
    raise CannotBePerformed(f"the prefill does not say how large its KV cache is ({_CACHE})")
