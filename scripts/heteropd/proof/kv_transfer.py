"""Did the KV cache really travel? What the engines counted, against what the prompts call for.

A decode engine that quietly computes the prompt itself answers correctly and with HTTP 200 (vllm #26896,
#42703), so right answers prove nothing about the transfer; the counters do.
"""

from __future__ import annotations

from collections.abc import Sequence

from heteropd.engine_api.metrics import Counts
from heteropd.proof import engines
from heteropd.proof.accounting import ROUTER_MEND, ExpectedTransfer, Observed, Traffic, check, missing
from heteropd.proof.verdict import Check, Evidence


def checks(expected: ExpectedTransfer, sent: Traffic, seen: Observed) -> list[Check]:
    """All checks of this group; the last one makes sure that at least one of them could look."""
    found = [
        check_bytes(expected, seen.window),
        check_single(expected, seen.single),
        check_descriptors(expected, seen.window),
        engines.check_failures(seen),
        check_external(expected, seen.window),
        engines.check_recomputed(expected, sent, seen.decode),
        engines.check_prefill(expected, sent, seen.prefill),
        engines.check_decode(expected, sent, seen.decode),
        engines.check_honest(sent, seen),
    ]
    return [*found, _proof(found)]


def _proof(found: Sequence[Check]) -> Check:
    """Bytes prove movement; where they are not counted, tokens that the decode says it received do."""
    status = {one.id: one.status for one in found}
    proof = "kv_transfer.external" if status["kv_transfer.bytes"] == "SKIP" else "kv_transfer.bytes"
    good = status[proof] == "PASS"
    return check(
        "proof",
        "PASS" if good else "FAIL",
        f"movement is shown by {proof}" if good else "nothing shows that the KV moved",
        {},
        "run a vLLM whose /metrics has vllm:nixl_bytes_transferred, or see the failures above",
    )


def check_bytes(expected: ExpectedTransfer, window: Counts) -> Check:
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
        return missing("bytes", "vllm:nixl_bytes_transferred")
    if expected.token_bytes is None:
        slots = blocks * expected.wire_block
        whole = moved > 0 and moved % slots == 0
        return check(
            "bytes",
            "PASS" if whole else "FAIL",
            f"{moved:,} bytes are {moved / slots:g} a token slot (the model's configuration is not on this "
            "machine, so only the proportion is checked)",
            evidence,
            ROUTER_MEND,
        )
    wanted = blocks * expected.wire_block * expected.token_bytes
    return check(
        "bytes",
        "PASS" if moved == wanted else "FAIL",
        f"{moved:,} of {wanted:,} expected bytes moved",
        {**evidence, "expected": wanted},
        ROUTER_MEND
        if moved == 0
        else "blocks were left out or moved twice, or other requests ran: validate an idle topology",
    )


def check_single(expected: ExpectedTransfer, single: Sequence[tuple[int, int | None]]) -> Check:
    """The same for each probe that was alone, so that no two errors can cancel."""
    known = [(tokens, moved) for tokens, moved in single if moved is not None]
    if not known:
        return missing("single", "vllm:nixl_bytes_transferred")
    slots = [-(-tokens // expected.wire_block) * expected.wire_block for tokens, _ in known]
    each = expected.token_bytes or (known[0][1] // slots[0])
    wrong = [
        tokens
        for (tokens, moved), room in zip(known, slots, strict=True)
        if moved != room * each or moved == 0
    ]
    return check(
        "single",
        "FAIL" if wrong else "PASS",
        f"{len(known) - len(wrong)} of {len(known)} lone probes moved exactly their blocks",
        {"prompt_tokens": [tokens for tokens, _ in known], "bytes": [moved for _, moved in known]},
        "see kv_transfer.bytes",
    )


def check_descriptors(expected: ExpectedTransfer, window: Counts) -> Check:
    """NIXL joins the descriptors of neighbouring blocks, and blocks may span all layers: so a range, from one
    a probe to one for K and one for V of each block and layer."""
    count, probes = window["descriptors"], len(expected.blocks)
    if count is None:
        return missing("descriptors", "vllm:nixl_num_descriptors")
    most = 2 * sum(expected.blocks) * expected.layers if expected.layers else None
    good = count >= probes and (most is None or count <= most)
    return check(
        "descriptors",
        "PASS" if good else "FAIL",
        f"{count:,} descriptors for {probes} probes",
        {"descriptors": count, "least": probes, "most": most},
        "see kv_transfer.bytes",
    )


def check_external(expected: ExpectedTransfer, window: Counts) -> Check:
    """The decode took every prompt token from its peer, or all but each prompt's last, which it computes."""
    hits, most = window["external_hits"], sum(expected.prompt_tokens)
    least = most - len(expected.prompt_tokens)
    if hits is None:
        return missing("external", "vllm:external_prefix_cache_hits")
    return check(
        "external",
        "PASS" if least <= hits <= most else "FAIL",
        f"{hits:,} of {most:,} prompt tokens came from the prefill engine",
        {"tokens": hits, "least": least, "most": most},
        ROUTER_MEND,
    )
