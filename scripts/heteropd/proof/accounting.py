"""What was sent, and what each engine counted over the whole run: requests, tokens, failures."""

from __future__ import annotations

from dataclasses import dataclass, field

from heteropd.engine_api.metrics import Counts
from heteropd.proof.verdict import Check, checked, skipped

ROUTER_FIX = (
    "the router must run in PD mode with the nixl connector, with both engines registered (make logs)"
)


@dataclass(frozen=True)
class ExpectedTransfer:
    """What the probes call for. ``token_bytes`` and ``layers`` are None where the model's configuration is
    not to be had. Blocks are of ``wire_block`` tokens, in which the prefill's KV is addressed."""

    prompt_tokens: list[int]
    wire_block: int
    token_bytes: int | None
    layers: int | None

    @property
    def blocks(self) -> list[int]:
        return [-(-tokens // self.wire_block) for tokens in self.prompt_tokens]


@dataclass(frozen=True)
class Traffic:
    """What was sent over the whole run, beside the probes: tokens of the references and of other requests."""

    prefill_alone: list[int]
    decode_alone: list[int]
    router_requests: int
    router_tokens: int


@dataclass(frozen=True)
class Observed:
    """Counter movements. ``window`` is the decode's over the probes alone, in which no other request used
    the connector; ``prefill`` and ``decode`` are over the whole run; ``single`` pairs a probe's length with
    the bytes that the decode counted while it was the only one."""

    window: Counts
    prefill: Counts
    decode: Counts
    single: list[tuple[int, int | None]] = field(default_factory=list)


def uncounted(check_id: str, metric: str) -> Check:
    """Not checked, since this vLLM has no such counter."""
    return skipped(check_id, f"this vLLM does not count {metric}, so this was not checked")


def check_failures(observed: Observed) -> Check:
    """Nothing failed or expired. A lease that ran out lets another request's KV be read (aws-do-eks #84)."""
    names = ("failed_transfers", "failed_notifications", "expired", "late_notifications")
    counted = {
        f"{role}_{name}": counts[name]
        for role, counts in (("prefill", observed.prefill), ("decode", observed.decode))
        for name in names
    }
    known = {name: count for name, count in counted.items() if count is not None}
    if not known:
        return uncounted("kv_transfer.failures", "vllm:nixl_num_failed_transfers")
    return checked(
        "kv_transfer.failures",
        ", ".join(f"{name} {count}" for name, count in known.items() if count),
        "no failed or expired transfer",
        dict(known),
        "read the engines' logs; raise the lease or abort timeout if transfers are slow",
    )


def check_recomputed(expected: ExpectedTransfer, sent: Traffic, decode: Counts) -> Check:
    """Beyond its own references the decode computed at most one prompt token a request."""
    if decode["computed"] is None:
        return uncounted("kv_transfer.recomputed", "vllm:prompt_tokens_by_source")
    most = len(expected.prompt_tokens) + sent.router_requests
    extra = decode["computed"] - sum(sent.decode_alone)
    text = f"the decode engine computed {extra:,} prompt tokens of {most} disaggregated requests"
    problem = None if 0 <= extra <= most else text
    return checked("kv_transfer.recomputed", problem, text, {"tokens": extra, "most": most}, ROUTER_FIX)


def check_prefill(expected: ExpectedTransfer, sent: Traffic, prefill: Counts) -> Check:
    """The prefill engine saw each request once, with its whole prompt."""
    requests = len(expected.prompt_tokens) + len(sent.prefill_alone) + sent.router_requests
    tokens = sum(expected.prompt_tokens) + sum(sent.prefill_alone) + sent.router_tokens
    return _saw("prefill", prefill, requests, tokens)


def check_decode(expected: ExpectedTransfer, sent: Traffic, decode: Counts) -> Check:
    """So did the decode engine."""
    requests = len(expected.prompt_tokens) + len(sent.decode_alone) + sent.router_requests
    tokens = sum(expected.prompt_tokens) + sum(sent.decode_alone) + sent.router_tokens
    return _saw("decode", decode, requests, tokens)


def check_honest(sent: Traffic, observed: Observed) -> Check:
    """No reference and no probe was served from a prefix cache. Only the fixed requests of the connectivity
    group may have been, when validation runs for the second time."""
    hits = [observed.prefill["local_hits"], observed.decode["local_hits"]]
    known = [count for count in hits if count is not None]
    if not known:
        return uncounted("kv_transfer.honest", "vllm:prefix_cache_hits")
    found = max(known) > sent.router_tokens
    return checked(
        "kv_transfer.honest",
        "prompts that must be computed were found in a prefix cache" if found else None,
        "prompts were computed, not found in a prefix cache",
        {"prefill_hits": hits[0], "decode_hits": hits[1], "most": sent.router_tokens},
        "cache_salt has no effect on this engine: restart it, then validate again",
    )


def _saw(role: str, counts: Counts, requests: int, tokens: int) -> Check:
    if counts["requests"] is None:
        return uncounted(f"kv_transfer.{role}_saw", "vllm:request_success")
    good = counts["requests"] == requests and counts["prompt_tokens"] in (None, tokens)
    text = f"the {role} engine saw {counts['requests']} of {requests} requests"
    evidence = {
        "requests": counts["requests"],
        "expected": requests,
        "prompt_tokens": counts["prompt_tokens"],
        "expected_tokens": tokens,
    }
    fix = f"fewer: {ROUTER_FIX}; more: other requests ran, validate an idle topology"
    return checked(f"kv_transfer.{role}_saw", None if good else text, text, dict(evidence), fix)
