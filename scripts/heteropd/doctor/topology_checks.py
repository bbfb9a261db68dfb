"""T4: a running topology, by what its engines count and what their logs say."""

from __future__ import annotations

import re

from heteropd.doctor.model import EngineTarget, Outcome, Running
from heteropd.doctor.nixl import lanes
from heteropd.engine_api.metrics import Counts

_CONVERTS = re.compile(r"postprocess on save is enabled|converted on save to", re.IGNORECASE)
_STARTED = "Application startup complete"  # uvicorn's, once a start
_SLOW = ("tcp",)
_LOST = re.compile(r"Releasing expired KV|Potentially invalid KV", re.IGNORECASE)


def transport(running: Running) -> Outcome:
    """The transports of UCX's own configuration lines, against those that the platform forbids."""
    seen: set[str] = set()
    bad: set[str] = set()
    for role in running.plan.engines:
        found = {lane.partition("/")[0] for lane in lanes(running.logs.get(role.name) or "")}
        seen |= found
        bad |= found & {
            *running.forbidden.get(role.runs_on, ()),
            *(_SLOW if EngineTarget(role).verbs else ()),
        }
    if not seen:
        return Outcome("SKIP", "no line of UCX in the logs says it (UCX_LOG_LEVEL=info writes them)")
    if bad:
        return Outcome("FAIL", f"in use: {', '.join(sorted(bad))} (all: {', '.join(sorted(seen))})")
    return Outcome("PASS", ", ".join(sorted(seen)))


def conversion(running: Running) -> Outcome:
    """A prefill that converts says so once."""
    converting = [role for role in running.plan.engines if role.kv and role.kv.convert_on_save]
    if not converting:
        return Outcome("SKIP", "this plan converts nothing on save")
    for role in converting:
        log = running.logs.get(role.name)
        if log is None:
            return Outcome("WARN", f"the log of {role.name} could not be read")
        if not _CONVERTS.search(log):
            return Outcome("FAIL", f"the log of {role.name} has no line about conversion on save")
    return Outcome("PASS", ", ".join(role.name for role in converting))


def roles(running: Running) -> Outcome:
    """Every role runs and is healthy."""
    if running.unhealthy:
        return Outcome("FAIL", "; ".join(f"{name}: {how}" for name, how in running.unhealthy.items()))
    return Outcome("PASS", ", ".join(role.name for role in running.plan.roles))


def restarted(running: Running) -> Outcome:
    """No prefill has been started more often than a decode, by their logs."""
    starts = {role.name: (running.logs.get(role.name) or "").count(_STARTED) for role in running.plan.engines}
    unsaid = [name for name, count in starts.items() if not count]
    if unsaid:
        return Outcome("SKIP", f"the log of {unsaid[0]} has no line about its start")
    text = ", ".join(f"{name} started {count} times" for name, count in starts.items())
    decodes = min(starts[role.name] for role in running.plan.of("decode"))
    alone = any(starts[role.name] > decodes for role in running.plan.of("prefill"))
    return Outcome("FAIL" if alone else "PASS", text)


def expired(running: Running) -> Outcome:
    """Counter where this vLLM has one, and log lines."""
    counts = [running.prefill["expired"], running.decode["expired"]]
    counted = sum(count or 0 for count in counts)
    texts = [running.logs.get(role.name) for role in running.plan.engines]
    lines = sum(len(_LOST.findall(text or "")) for text in texts)
    if counted or lines:
        return Outcome("FAIL", f"{counted} requests expired, {lines} lines in the logs say so")
    if all(count is None for count in counts) and any(text is None for text in texts):
        return Outcome("SKIP", "no counter in this vLLM, and not all logs can be read")
    return Outcome("PASS", "none")


def kv_moved(running: Running) -> Outcome:
    """Bytes, or transfers where bytes are not counted, and no failure."""
    decode = running.decode
    failed, moved = decode["failed_transfers"], _first(decode, "bytes", "transfers")
    if failed:
        return Outcome("FAIL", f"{failed} transfers failed")
    if moved:
        unit = "transfers" if decode["bytes"] is None else "bytes"
        return Outcome("PASS", f"{moved:,} {unit}, no failed transfer was counted")
    requests, tokens = decode["requests"], decode["prompt_tokens"]
    if not requests:
        return Outcome("SKIP", "no request has been answered yet")
    if tokens is not None and tokens / requests < _larger_block(running):
        return Outcome("SKIP", f"{requests} requests so far, shorter than a block on average")
    if moved is None:
        return Outcome("WARN", "the decode's /metrics has no count of bytes or transfers")
    return Outcome("FAIL", f"{requests} requests were answered and nothing was received")


def short_prompts(running: Running) -> Outcome:
    """The average prompt, against two of the larger blocks."""
    requests, tokens = running.decode["requests"], running.decode["prompt_tokens"]
    if not requests or tokens is None:
        return Outcome("SKIP", "no request has been counted yet")
    block, average = _larger_block(running), tokens / requests
    text = f"{average:.0f} tokens on average, the larger block holds {block}"
    return Outcome("PASS" if average >= 2 * block else "WARN", text)


def _larger_block(running: Running) -> int:
    return max((role.kv.block_size for role in running.plan.engines if role.kv), default=1)


def _first(counts: Counts, *names: str) -> int | None:
    return next((counts[name] for name in names if counts[name] is not None), None)
