"""Did the KV cache really travel? What the engines counted, against what the prompts call for.

A decode engine that quietly computes the prompt itself answers correctly and with HTTP 200 (vllm #26896,
#42703), so right answers prove nothing about the transfer; the counters do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from heteropd.validate.metrics import Counts
from heteropd.validate.verdict import Check, Evidence, Status

_ROUTER_MEND = (
    "the router must run in PD mode with the nixl connector, with both engines registered (make logs)"
)


@dataclass(frozen=True)
class Expected:
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


def checks(expected: Expected, sent: Traffic, seen: Observed) -> list[Check]:
    """All checks of this group; the last one makes sure that at least one of them could look."""
    found = [
        check_bytes(expected, seen.window),
        check_single(expected, seen.single),
        check_descriptors(expected, seen.window),
        check_failures(seen),
        check_external(expected, seen.window),
        check_recomputed(expected, sent, seen.decode),
        check_prefill(expected, sent, seen.prefill),
        check_decode(expected, sent, seen.decode),
        check_honest(sent, seen),
    ]
    proofs = [one.id for one in found if one.status == "PASS" and one.id in ("moved.bytes", "moved.external")]
    return [
        *found,
        _check(
            "proof",
            "PASS" if proofs else "FAIL",
            f"movement is shown by {' and '.join(proofs)}" if proofs else "nothing shows that KV moved",
            {},
            "run a vLLM whose /metrics has vllm:nixl_bytes_transferred, or see the failures above",
        ),
    ]


def check_bytes(expected: Expected, window: Counts) -> Check:
    """Bytes: blocks x tokens a block x bytes a token, exactly."""
    moved, blocks = window["bytes"], sum(expected.blocks)
    evidence: Evidence = {
        "bytes": moved,
        "probes": len(expected.blocks),
        "blocks": blocks,
        "tokens_a_block": expected.wire_block,
        "bytes_a_token": expected.token_bytes,
    }
    if moved is None:
        return _missing("bytes", "vllm:nixl_bytes_transferred")
    if expected.token_bytes is None:
        slots = blocks * expected.wire_block
        whole = moved > 0 and moved % slots == 0
        return _check(
            "bytes",
            "PASS" if whole else "FAIL",
            f"{moved:,} bytes are {moved / slots:g} a token slot (the model's configuration is not on this "
            "machine, so only the proportion is checked)",
            evidence,
            _ROUTER_MEND,
        )
    wanted = blocks * expected.wire_block * expected.token_bytes
    return _check(
        "bytes",
        "PASS" if moved == wanted else "FAIL",
        f"{moved:,} of {wanted:,} expected bytes moved",
        {**evidence, "expected": wanted},
        _ROUTER_MEND
        if moved == 0
        else "blocks were left out or moved twice, or other requests ran: validate an idle topology",
    )


def check_single(expected: Expected, single: Sequence[tuple[int, int | None]]) -> Check:
    """The same for each probe that was alone, so that no two errors can cancel."""
    known = [(tokens, moved) for tokens, moved in single if moved is not None]
    if not known:
        return _missing("single", "vllm:nixl_bytes_transferred")
    slots = [-(-tokens // expected.wire_block) * expected.wire_block for tokens, _ in known]
    each = expected.token_bytes or (known[0][1] // slots[0])
    wrong = [
        tokens
        for (tokens, moved), room in zip(known, slots, strict=True)
        if moved != room * each or moved == 0
    ]
    return _check(
        "single",
        "FAIL" if wrong else "PASS",
        f"{len(known) - len(wrong)} of {len(known)} lone probes moved exactly their blocks",
        {"prompt_tokens": [tokens for tokens, _ in known], "bytes": [moved for _, moved in known]},
        "see moved.bytes",
    )


def check_descriptors(expected: Expected, window: Counts) -> Check:
    """NIXL joins the descriptors of neighbouring blocks, and blocks may span all layers: so a range, from one
    a probe to one for K and one for V of each block and layer."""
    count, probes = window["descriptors"], len(expected.blocks)
    if count is None:
        return _missing("descriptors", "vllm:nixl_num_descriptors")
    most = 2 * sum(expected.blocks) * expected.layers if expected.layers else None
    good = count >= probes and (most is None or count <= most)
    return _check(
        "descriptors",
        "PASS" if good else "FAIL",
        f"{count:,} descriptors for {probes} probes",
        {"descriptors": count, "least": probes, "most": most},
        "see moved.bytes",
    )


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
        return _missing("failures", "vllm:nixl_num_failed_transfers")
    bad = {name: count for name, count in known.items() if count}
    text = ", ".join(f"{name} {count}" for name, count in bad.items())
    return _check(
        "failures",
        "FAIL" if bad else "PASS",
        text or "no failed or expired transfer",
        dict(known),
        "read the engines' logs; raise the lease or abort timeout if transfers are slow",
    )


def check_external(expected: Expected, window: Counts) -> Check:
    """The decode took every prompt token from its peer, or all but each prompt's last, which it computes."""
    hits, most = window["external_hits"], sum(expected.prompt_tokens)
    least = most - len(expected.prompt_tokens)
    if hits is None:
        return _missing("external", "vllm:external_prefix_cache_hits")
    return _check(
        "external",
        "PASS" if least <= hits <= most else "FAIL",
        f"{hits:,} of {most:,} prompt tokens came from the prefill engine",
        {"tokens": hits, "least": least, "most": most},
        _ROUTER_MEND,
    )


def check_recomputed(expected: Expected, sent: Traffic, decode: Counts) -> Check:
    """Beyond its own references the decode computed at most one prompt token a request."""
    if decode["computed"] is None:
        return _missing("recomputed", "vllm:prompt_tokens_by_source")
    most = len(expected.prompt_tokens) + sent.router_requests
    extra = decode["computed"] - sum(sent.decode_alone)
    return _check(
        "recomputed",
        "PASS" if 0 <= extra <= most else "FAIL",
        f"the decode engine computed {extra:,} prompt tokens of {most} disaggregated requests",
        {"tokens": extra, "most": most},
        _ROUTER_MEND,
    )


def check_prefill(expected: Expected, sent: Traffic, prefill: Counts) -> Check:
    """The prefill engine saw each request once, with its whole prompt."""
    requests = len(expected.prompt_tokens) + len(sent.prefill_alone) + sent.router_requests
    tokens = sum(expected.prompt_tokens) + sum(sent.prefill_alone) + sent.router_tokens
    return _seen("prefill", prefill, requests, tokens)


def check_decode(expected: Expected, sent: Traffic, decode: Counts) -> Check:
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
        return _missing("honest", "vllm:prefix_cache_hits")
    return _check(
        "honest",
        "PASS" if max(known) <= sent.router_tokens else "FAIL",
        "prompts were computed, not found in a prefix cache",
        {"prefill_hits": hits[0], "decode_hits": hits[1], "most": sent.router_tokens},
        "cache_salt has no effect on this engine: restart it, then validate again",
    )


def _seen(role: str, counts: Counts, requests: int, tokens: int) -> Check:
    if counts["requests"] is None:
        return _missing(f"{role}_saw", "vllm:request_success")
    good = counts["requests"] == requests and counts["prompt_tokens"] in (None, tokens)
    return _check(
        f"{role}_saw",
        "PASS" if good else "FAIL",
        f"the {role} engine saw {counts['requests']} of {requests} requests",
        {
            "requests": counts["requests"],
            "expected": requests,
            "prompt_tokens": counts["prompt_tokens"],
            "expected_tokens": tokens,
        },
        f"fewer: {_ROUTER_MEND}; more: other requests ran, validate an idle topology",
    )


def _missing(name: str, metric: str) -> Check:
    return Check(
        id=f"moved.{name}",
        group="moved",
        status="SKIP",
        essential=False,
        says=f"this vLLM does not count {metric}, so this was not checked",
    )


def _check(name: str, status: Status, says: str, evidence: Evidence, mend: str) -> Check:
    return Check(
        id=f"moved.{name}",
        group="moved",
        status=status,
        says=says,
        evidence=evidence,
        mend=mend if status == "FAIL" else None,
    )
