"""The validity gate: what makes figures of a load run worthless, in words. Pure.

A benchmark that only counts answers is at its fastest where PD is broken: nothing is transferred, nothing is
computed, or one engine does it all (InferenceX #1944, srt-slurm #429).
"""

from collections.abc import Iterator
from typing import get_args

from heteropd.bench.cpu import DISTURBED
from heteropd.bench.load.model import ArmName, KvEvidence, Level, LoadResult, Validity, VerdictSummary

NEVER = {
    "failed_transfers": "failed transfers",
    "failed_notifications": "failed notifications",
    "expired": "leases that expired",
    "late_notifications": "notifications after a lease had expired",
    "digests_differs": "KV digests that differ",
}
_ARRIVALS, _JUDGED = 2.0, 6  # chance alone takes so many requests of guidellm's no further from their rate


def judge(result: LoadResult) -> Validity:
    """Every reason why the figures must not be believed; the result's own ``validity`` is not looked at."""
    broke_off = [f"the load broke off: {result.broke_off}"] if result.broke_off else []
    reasons = [*broke_off, *_of_verdicts(result)]
    for name in get_args(ArmName):
        arm = result.arm(name)
        if arm is None or len(arm.levels) != len(result.profile.levels):
            reasons.append(f"{name}: not every level of the profile was measured")
        for level in arm.levels if arm else ():
            where = f"{name} at {level.value:g}"
            reasons += [f"{where}: {reason}" for reason in _of_level(name, level, result)]
    return Validity(reasons=reasons)


def _of_verdicts(result: LoadResult) -> Iterator[str]:
    for when, verdict in result.verdicts.items():
        if verdict is None:
            yield f"there is no verdict {when} the load"
        elif verdict.result != "PASS":
            yield f"the verdict {when} the load is {_named(verdict)}"


def _named(verdict: VerdictSummary) -> str:
    return "; ".join([verdict.result, *verdict.failures[:1]])


def _of_level(name: ArmName, level: Level, result: LoadResult) -> Iterator[str]:
    yield from _of_requests(level, result)
    kv = level.kv
    if any(count is not None and count < 0 for count in kv.model_dump().values()):
        yield "counters went backwards: an engine was restarted meanwhile"
    yield from (f"{count} {words}" for field, words in NEVER.items() if (count := getattr(kv, field)))
    yield from (_of_pd if name == "pd" else _of_aggregated)(level, kv)


def _of_requests(level: Level, result: LoadResult) -> Iterator[str]:
    """Each was answered, with all its tokens and with times that can be."""
    requests, profile = level.requests, result.profile
    if len(requests) != profile.requests:
        yield f"{len(requests)} of {profile.requests} requests were sent to their end"
    if failed := [request for request in requests if not request.ok]:
        yield f"{len(failed)} of {len(requests)} requests failed ({failed[0].error or 'no reason given'})"
    if empty := sum(request.output_tokens == 0 for request in requests):
        yield f"{empty} of {len(requests)} answers have 0 tokens"
    wanted = {shape.output_tokens for shape in profile.shapes}
    short = [
        request.output_tokens
        for request in requests
        if request.ok and request.output_tokens and request.output_tokens not in wanted
    ]
    if short:
        yield f"{len(short)} answers have other lengths than were asked for (one has {short[0]} tokens)"
    if any(request.ok and request.output_tokens and not request.ttft_s for request in requests):
        yield "answers without a time of their first token"
    if profile.mode == "poisson" and len(requests) >= _JUDGED:
        arrived = (len(requests) - 1) / max(requests[-1].started_s, 1e-9)
        if not level.value / _ARRIVALS <= arrived <= level.value * _ARRIVALS:
            yield f"requests arrived at {arrived:.3g} a second: the load generator did not keep its schedule"


def _of_pd(level: Level, kv: KvEvidence) -> Iterator[str]:
    """Every prompt was computed by a prefill, once, and its KV travelled to a decode, once."""
    count, prompts = len(level.requests), sum(request.prompt_tokens for request in level.requests)
    for side in ("prefill", "decode"):
        served = getattr(kv, f"{side}_requests")
        if served is not None and served != count:
            yield f"the {side} engines served {served} requests of {count}: no PD, or others were there"
    if kv.bytes is None and kv.external_tokens is None:
        yield "the engines count neither bytes nor tokens of transfers: nothing shows that the KV moved"
    if kv.bytes is not None:
        if kv.expected_bytes is not None and kv.bytes != kv.expected_bytes:
            yield f"{kv.bytes:,} bytes of KV moved, and the prompts call for {kv.expected_bytes:,}"
        elif not kv.bytes:
            yield "no KV moved"
    if kv.external_tokens is not None and not prompts - count <= kv.external_tokens <= prompts:
        yield f"the decode took {kv.external_tokens:,} of {prompts:,} prompt tokens from the prefill"
    if kv.recomputed_tokens is not None and kv.recomputed_tokens > count:
        yield f"the decode computed {kv.recomputed_tokens:,} prompt tokens itself, and may one a request"


def _of_aggregated(level: Level, kv: KvEvidence) -> Iterator[str]:
    """Each request was served by one engine, and no KV travelled."""
    count, sides = len(level.requests), (kv.prefill_requests, kv.decode_requests)
    served = [requests for requests in sides if requests is not None]
    if len(served) == len(sides) and sum(served) != count:
        yield f"the engines served {sum(served)} requests of {count}: others sent requests too"
    if 0 in served and count > 1:
        yield "one side served no request: half of the cores stood idle"
    if kv.bytes or kv.external_tokens:
        yield "KV moved between the engines: this is not aggregated serving"


def caveats(result: LoadResult) -> list[str]:
    """What is to be said with the figures though they are valid."""
    levels = [level for arm in result.arms for level in arm.levels]
    others = max((level.cores_others for level in levels), default=0.0)
    none = {name for level in levels for name, count in level.kv if count is None}
    uncounted = sorted(name for name in none if not name.startswith("digests_"))  # they are off by default
    said = {
        "CPU stand-ins: the figures compare ways through the same software; they measure no accelerator, "
        "no fabric, and no speed that hardware would have": result.standin,
        "The load generator, the router and the engines share this machine's cores": all(
            engine["here"] for engine in result.engines.values()
        ),
        f"Other programs used up to {others:.2f} cores meanwhile: measure again on an idle machine": others
        > DISTURBED,
        f"Not counted by these engines, so not checked: {', '.join(uncounted)}": bool(uncounted),
        f"{result.profile.requests} requests a level: p99 is the slowest of them": result.profile.requests
        < 100,
    }
    return [text for text, applies in said.items() if applies]
