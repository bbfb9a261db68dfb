"""What each engine counted over the whole run: whom it served, what it computed, what failed."""

from __future__ import annotations

from heteropd.engine_api.metrics import Counts
from heteropd.proof.accounting import ROUTER_MEND, ExpectedTransfer, Observed, Traffic, check, missing
from heteropd.proof.verdict import Check


def check_failures(seen: Observed) -> Check:
    """Nothing failed or expired. A lease that ran out lets another request's KV be read (aws-do-eks #84)."""
    names = ("failed_transfers", "failed_notifications", "expired", "late_notifications")
    counted = {
        f"{role}_{name}": counts[name]
        for role, counts in (("prefill", seen.prefill), ("decode", seen.decode))
        for name in names
    }
    known = {name: count for name, count in counted.items() if count is not None}
    if not known:
        return missing("failures", "vllm:nixl_num_failed_transfers")
    bad = {name: count for name, count in known.items() if count}
    text = ", ".join(f"{name} {count}" for name, count in bad.items())
    return check(
        "failures",
        "FAIL" if bad else "PASS",
        text or "no failed or expired transfer",
        dict(known),
        "read the engines' logs; raise the lease or abort timeout if transfers are slow",
    )


def check_recomputed(expected: ExpectedTransfer, sent: Traffic, decode: Counts) -> Check:
    """Beyond its own references the decode computed at most one prompt token a request."""
    if decode["computed"] is None:
        return missing("recomputed", "vllm:prompt_tokens_by_source")
    most = len(expected.prompt_tokens) + sent.router_requests
    extra = decode["computed"] - sum(sent.decode_alone)
    return check(
        "recomputed",
        "PASS" if 0 <= extra <= most else "FAIL",
        f"the decode engine computed {extra:,} prompt tokens of {most} disaggregated requests",
        {"tokens": extra, "most": most},
        ROUTER_MEND,
    )


def check_prefill(expected: ExpectedTransfer, sent: Traffic, prefill: Counts) -> Check:
    """The prefill engine saw each request once, with its whole prompt."""
    requests = len(expected.prompt_tokens) + len(sent.prefill_alone) + sent.router_requests
    tokens = sum(expected.prompt_tokens) + sum(sent.prefill_alone) + sent.router_tokens
    return _seen("prefill", prefill, requests, tokens)


def check_decode(expected: ExpectedTransfer, sent: Traffic, decode: Counts) -> Check:
    """So did the decode engine."""
    requests = len(expected.prompt_tokens) + len(sent.decode_alone) + sent.router_requests
    tokens = sum(expected.prompt_tokens) + sum(sent.decode_alone) + sent.router_tokens
    return _seen("decode", decode, requests, tokens)


def check_honest(sent: Traffic, seen: Observed) -> Check:
    """No reference and no probe was served from a prefix cache. Only the fixed requests of the connectivity
    group may have been, when validation runs for the second time."""
    hits = [seen.prefill["local_hits"], seen.decode["local_hits"]]
    known = [one for one in hits if one is not None]
    if not known:
        return missing("honest", "vllm:prefix_cache_hits")
    return check(
        "honest",
        "PASS" if max(known) <= sent.router_tokens else "FAIL",
        "prompts were computed, not found in a prefix cache",
        {"prefill_hits": hits[0], "decode_hits": hits[1], "most": sent.router_tokens},
        "cache_salt has no effect on this engine: restart it, then validate again",
    )


def _seen(role: str, counts: Counts, requests: int, tokens: int) -> Check:
    if counts["requests"] is None:
        return missing(f"{role}_saw", "vllm:request_success")
    good = counts["requests"] == requests and counts["prompt_tokens"] in (None, tokens)
    return check(
        f"{role}_saw",
        "PASS" if good else "FAIL",
        f"the {role} engine saw {counts['requests']} of {requests} requests",
        {
            "requests": counts["requests"],
            "expected": requests,
            "prompt_tokens": counts["prompt_tokens"],
            "expected_tokens": tokens,
        },
        f"fewer: {ROUTER_MEND}; more: other requests ran, validate an idle topology",
    )
