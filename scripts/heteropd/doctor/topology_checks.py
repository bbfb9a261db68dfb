"""T4: a running topology, by what its engines count and what their logs say."""

import re
from collections.abc import Iterator

from heteropd.doctor.model import EngineTarget, Outcome, Running, worst
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
        slow = _SLOW if EngineTarget(role).verbs else ()
        bad |= found & {*running.forbidden.get(role.runs_on, ()), *slow}
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
    return Outcome.judged(not alone, text)


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
    decode = running.decode
    if failed := decode["failed_transfers"]:
        return Outcome("FAIL", f"{failed} transfers failed")
    if not decode["requests"] or running.routed == 0:
        return Outcome("SKIP", "no request has been answered yet")
    if _wanted_tokens(running) == 0:
        return Outcome("SKIP", "all prompts so far were in the decode's own prefix cache")
    outcome = worst(_compared(running))
    if outcome.status != "PASS" and _average(running) < _larger_block(running):
        return Outcome("SKIP", "requests so far were shorter than a block on average")
    return outcome


def _compared(running: Running) -> Iterator[Outcome]:
    """What every pair of counts says that this vLLM and this router have."""
    decode, routed, wanted = running.decode, _routed(running), _wanted_tokens(running)
    transfers, received, tokens = decode["transfers"], decode["bytes"], decode["external_hits"]
    each = running.token_bytes
    # Where all requests came by the router, nearly all must move. Else some were for the decode alone, as
    # `make validate` and `make status` send them, and only next to nothing is wrong for sure.
    least = (0.5, 0.9) if routed == decode["requests"] else (0.05, 0.3)
    if routed and transfers is not None and not decode["local_hits"]:
        yield _enough(transfers, routed, "requests through the router had a transfer", (0.5, 0.9))
    if received is not None and each and tokens:
        yield _enough(received, tokens * each, "bytes for the tokens that count as received", (0.9, 0.9))
    if received is not None and each and wanted:
        yield _enough(received, wanted * each, "bytes", least)
    if tokens is not None and wanted:
        yield _enough(tokens, wanted, "prompt tokens", least)
    if received is not None and not each and tokens is None:
        # No model's KV is smaller than this; whether it was all is not known.
        poor = _enough(received, (wanted or 0) * 64, "bytes", least)
        unknown = Outcome("WARN", f"{received:,} bytes, of nobody knows how many")
        yield poor if poor.status == "FAIL" else unknown
    if received is None and tokens is None and transfers is None:
        yield Outcome("WARN", "the decode's /metrics has no count of bytes, tokens or transfers")
    if received is None and tokens is None and transfers is not None and routed is None:
        yield _enough(transfers, decode["requests"] or 0, "requests had a transfer", least)


def _enough(moved: int, wanted: int, unit: str, least: tuple[float, float]) -> Outcome:
    """``least``: the parts of ``wanted`` below which it fails, and below which it warns."""
    text = f"{moved:,} of about {wanted:,} {unit}"
    if not moved or moved < least[0] * wanted:
        return Outcome("FAIL", text)
    return Outcome("PASS" if moved >= least[1] * wanted else "WARN", text)


def _routed(running: Running) -> int | None:
    """Requests that the router sent to a prefill and a decode; None where it is older than the decode."""
    requests, routed = running.decode["requests"] or 0, running.routed
    return routed if routed is not None and routed <= requests else None


def _wanted_tokens(running: Running) -> int | None:
    """About how many prompt tokens came by the router, less what the decode had in its own prefix cache."""
    requests, tokens = running.decode["requests"], running.decode["prompt_tokens"]
    if not requests or tokens is None:
        return None
    routed = _routed(running)
    part = tokens if routed is None else tokens * routed // requests
    return max(part - (running.decode["local_hits"] or 0), 0)


def _average(running: Running) -> float:
    """Tokens of a prompt whose KV moves: of those that were received, else of all that were counted."""
    decode = running.decode
    if decode["external_hits"] and decode["transfers"]:
        return decode["external_hits"] / decode["transfers"]
    return (decode["prompt_tokens"] or 0) / (_routed(running) or decode["requests"] or 1)


def load_failures(running: Running) -> Outcome:
    """No decode hides that KV did not come, by computing the prompt itself."""
    if len(running.unhealthy) == len(running.plan.roles):
        return Outcome("SKIP", "nothing of it runs")
    if names := ", ".join(running.recomputing):
        problem = "kv_load_failure_policy is recompute, and failures show nowhere else"
        return Outcome("WARN", f"{names}: {problem}")
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
    if not running.decode["requests"] or running.decode["prompt_tokens"] is None or running.routed == 0:
        return Outcome("SKIP", "no request has been counted yet")
    block, average = _larger_block(running), _average(running)
    text = f"{average:.0f} tokens on average, the larger block holds {block}"
    return Outcome.judged(average >= 2 * block, text, "WARN")


def _larger_block(running: Running) -> int:
    return max((role.kv.block_size for role in running.plan.engines if role.kv), default=1)
