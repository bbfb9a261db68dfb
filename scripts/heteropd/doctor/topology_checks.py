"""T4: a running topology, by what its engines count and what their logs say."""

from __future__ import annotations

import re

from heteropd.doctor.model import EngineTarget, Outcome, Running
from heteropd.doctor.nixl import lanes

_CONVERTS = re.compile(r"postprocess on save is enabled|converted on save to", re.IGNORECASE)
_STARTED = "Application startup complete"  # uvicorn's, once a start
_SLOW = ("tcp",)
_KV_ERROR = re.compile(
    r"Handshake failed|NIXL transfer failure|handshake_(?:setup_)?failed|NIXL_ERR_\w+|RemoteDisconnect"
    r"|marking blocks as invalid|compatibility hash mismatch|engine ID mismatch"
)
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
    """What the decode received, against what the requests so far call for; and no failure."""
    if failed := running.decode["failed_transfers"]:
        return Outcome("FAIL", f"{failed} transfers failed")
    if reason := _too_early(running):
        return Outcome("SKIP", reason)
    moved, wanted, unit = _received(running)
    if moved is None:
        return Outcome("WARN", "the decode's /metrics has no count of bytes, tokens or transfers")
    if wanted is None:
        return Outcome("WARN", f"{moved:,} {unit}: what a token takes is not known: it may be a part")
    # `wanted` comes of the average prompt: a good part of it is asked for, and less where requests may be
    # among those that were counted which the router did not send.
    least, good = (0.5, 0.75) if running.routed is not None else (0.05, 0.3)
    text = f"{moved:,} of about {wanted:,} {unit} were received"
    if moved < least * wanted or not moved:
        return Outcome("FAIL", text)
    return Outcome("PASS" if moved >= good * wanted else "WARN", text)


def _too_early(running: Running) -> str | None:
    """Why nothing can be said yet."""
    requests, tokens = running.decode["requests"], running.decode["prompt_tokens"]
    if not requests or running.routed == 0:
        return "no request has been answered yet"
    if tokens is not None and tokens / requests < _larger_block(running):
        return f"{requests} requests so far, shorter than a block on average"
    if _wanted_tokens(running) == 0:
        return "all prompts so far were in the decode's own prefix cache"
    return None


def _received(running: Running) -> tuple[int | None, int | None, str]:
    """What was received, how much of it the requests call for, and what it is counted in; None: unknown."""
    decode, tokens = running.decode, _wanted_tokens(running)
    requests = f"for {_routed(running):,} requests"
    received, hits, transfers = decode["bytes"], decode["external_hits"], decode["transfers"]
    if received is not None and running.token_bytes and tokens is not None:
        return received, tokens * running.token_bytes, f"bytes {requests}"
    if hits is not None and tokens is not None:
        return hits, tokens, f"prompt tokens {requests}"
    if received:
        return received, None, f"bytes {requests}"
    return transfers if received is None else 0, _routed(running), f"transfers {requests}"


def _routed(running: Running) -> int:
    """Requests that were to move KV. Those that somebody sent to the decode alone, as `make validate` does,
    are among the decode's, and not among the router's."""
    requests = running.decode["requests"] or 0
    return requests if running.routed is None else min(requests, running.routed)


def _wanted_tokens(running: Running) -> int | None:
    """Their prompt tokens, less what the decode had in its own prefix cache; None: not counted."""
    requests, tokens = running.decode["requests"], running.decode["prompt_tokens"]
    if not requests or tokens is None:
        return None
    return max(tokens * _routed(running) // requests - (running.decode["local_hits"] or 0), 0)


def load_failures(running: Running) -> Outcome:
    """No decode hides that KV did not come, by computing the prompt itself."""
    if len(running.unhealthy) == len(running.plan.roles):
        return Outcome("SKIP", "nothing of it runs")
    if running.recomputing:
        names = ", ".join(running.recomputing)
        return Outcome(
            "WARN", f"{names}: kv_load_failure_policy is recompute, and failures show nowhere else"
        )
    return Outcome("PASS", "requests fail whose KV does not come")


def kv_errors(running: Running) -> Outcome:
    """No log has a failed handshake or transfer since its engine's last start."""
    seen, unread = [], []
    for role in running.plan.engines:
        log = running.logs.get(role.name)
        if log is None:
            unread.append(role.name)
            continue
        lines = [line for line in log.rpartition(_STARTED)[2].splitlines() if _KV_ERROR.search(line)]
        if lines:
            first = _KV_ERROR.search(lines[0])
            shown = lines[0][first.start() :].strip()[:150] if first else ""
            seen.append(f"{role.name}: {len(lines)} lines, the first: {shown}")
    if seen:
        return Outcome("FAIL", "; ".join(seen))
    if unread:
        return Outcome("SKIP", f"the log of {', '.join(unread)} could not be read")
    return Outcome("PASS", "none in the engines' logs")


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
