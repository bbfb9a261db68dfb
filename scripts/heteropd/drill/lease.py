"""KV that is fetched too late: its blocks hold another prompt's by then."""

from __future__ import annotations

from functools import partial

from heteropd.drill.catalogue import drill
from heteropd.drill.model import CannotBePerformed
from heteropd.drill.stage import Stage
from heteropd.validate.client import Endpoint
from heteropd.validate.crew import side_by_side
from heteropd.validate.metrics import Counts, parse

_CACHE = "vllm:cache_config_info"
_AT_ONCE = 4
_MARGIN = 1.2


@drill("lease-expired")
def lease_expired(stage: Stage) -> None:
    """Hand over, wait, overwrite the whole cache of the prefill, fetch."""
    known, prefill = stage.healthy.short[0], stage.first("prefill")
    end = Endpoint(prefill.name, prefill.url, stage.settings.waits)
    try:
        tokens = _cache_tokens(end.get("/metrics").text)
        handed_over, began = stage.hand_over(known), stage.clock.now()
        wait = stage.drills.lease_s * _MARGIN
        while stage.clock.now() - began < wait:
            stage.clock.sleep(min(wait, 1.0))
        expired = Counts.read(end.get("/metrics").text)["expired"]
        stage.fault(f"{wait:g} s without a fetch, {expired} requests expired by the prefill's count")
        long = stage.healthy.long
        rounds = 1 + tokens // len(long.probe.tokens)
        jobs = [partial(stage.ask, prefill.url, long, max_tokens=1) for _ in range(rounds)]
        answers = [one.result() for one in side_by_side(jobs, _AT_ONCE)]
        bad = next((one for one in answers if one.kind != "whole"), None)
        if bad:
            raise CannotBePerformed(f"the prefill's cache could not be overwritten: {bad.short}")
        stage.saw("the prefill's cache", f"overwritten: {rounds} prompts, for room of {tokens} tokens")
        late = stage.ask(stage.first("decode").url, known, handed_over)
        stage.judge("the late fetch", known, late)
        counted = Counts.read(end.get("/metrics").text)["late_notifications"]
        stage.saw("vllm:nixl_num_notifications_after_expiry", str(counted))
    finally:
        end.close()
    stage.whole("afterwards, without a restart")


def _cache_tokens(page: str) -> int:
    """How many tokens the engine's KV cache has room for, as it says itself."""
    for one in parse(page):
        size, count = one.labels.get("block_size"), one.labels.get("num_gpu_blocks")
        if one.name == _CACHE and size and count and count.isdigit():
            return int(size) * int(count)
    raise CannotBePerformed(f"the prefill does not say how large its KV cache is ({_CACHE})")
