"""Did the KV cache really travel? What the engines counted, against what the prompts call for.

A decode engine that quietly computes the prompt itself answers correctly and with HTTP 200 (vllm #26896,
#42703), so right answers prove nothing about the transfer; the counters do.
"""

from collections.abc import Sequence

from heteropd.engine_api.metrics import Counts
from heteropd.findings import Evidence
from heteropd.proof import accounting
from heteropd.proof.accounting import ROUTER_FIX, ExpectedTransfer, Observed, Traffic, uncounted
from heteropd.proof.verdict import Check, checked, measured


def checks(expected: ExpectedTransfer, sent: Traffic, observed: Observed) -> list[Check]:
    """All checks of this group; the last one makes sure that at least one of them could look."""
    findings = [
        check_bytes(expected, observed.window),
        check_single(expected, observed.single),
        check_descriptors(expected, observed.window),
        accounting.check_failures(observed),
        check_external(expected, observed.window),
        accounting.check_recomputed(sent, observed.decode),
        accounting.check_requests("prefill", sent, observed),
        accounting.check_requests("decode", sent, observed),
        accounting.check_generated("prefill", sent, observed),
        accounting.check_generated("decode", sent, observed),
        accounting.check_honest(sent, observed),
    ]
    return [*findings, _proof(findings)]


def _proof(findings: Sequence[Check]) -> Check:
    """Bytes prove movement; where they are not counted, tokens that the decode says it received do."""
    status = {finding.id: finding.status for finding in findings}
    proof = "kv_transfer.external" if status["kv_transfer.bytes"] == "SKIP" else "kv_transfer.bytes"
    return checked(
        "kv_transfer.proof",
        None if status[proof] == "PASS" else "nothing shows that the KV moved",
        f"movement is shown by {proof}",
        fix="run a vLLM whose /metrics has vllm:nixl_bytes_transferred, or see the failures above",
    )


def check_bytes(expected: ExpectedTransfer, window: Counts) -> Check:
    """Bytes: blocks x tokens a block x bytes a token, exactly."""
    moved, slots = window["bytes"], sum(expected.blocks) * expected.wire_block
    if moved is None:
        return uncounted("kv_transfer.bytes", "vllm:nixl_bytes_transferred")
    evidence: Evidence = {
        "bytes": moved,
        "probes": len(expected.blocks),
        "blocks": sum(expected.blocks),
        "tokens_a_block": expected.wire_block,
        "bytes_a_token": expected.token_bytes,
    }
    fix = "blocks were left out or moved twice, or other requests ran: validate an idle topology"
    if expected.token_bytes is None:
        good = moved > 0 and moved % slots == 0
        text = (
            f"{moved:,} bytes are {moved / slots:g} a token slot (the model's configuration is not on this "
            "machine, so only the proportion is checked)"
        )
        fix = ROUTER_FIX
    else:
        wanted = slots * expected.token_bytes
        evidence["expected"] = wanted
        good = moved == wanted
        text = f"{moved:,} of {wanted:,} expected bytes moved"
    return measured("kv_transfer.bytes", good, text, evidence, fix if moved else ROUTER_FIX)


def check_single(expected: ExpectedTransfer, single: Sequence[tuple[int, int | None]]) -> Check:
    """The same for each probe that was alone, so that no two errors can cancel."""
    known = [(tokens, moved) for tokens, moved in single if moved is not None]
    if not known:
        return uncounted("kv_transfer.single", "vllm:nixl_bytes_transferred")
    slots = [-(-tokens // expected.wire_block) * expected.wire_block for tokens, _ in known]
    token_bytes = expected.token_bytes or (known[0][1] // slots[0])
    right = [moved == room * token_bytes > 0 for (_, moved), room in zip(known, slots, strict=True)]
    text = f"{sum(right)} of {len(known)} lone probes moved exactly their blocks"
    evidence: Evidence = {
        "prompt_tokens": [tokens for tokens, _ in known],
        "bytes": [moved for _, moved in known],
    }
    return measured("kv_transfer.single", all(right), text, evidence, "see kv_transfer.bytes")


def check_descriptors(expected: ExpectedTransfer, window: Counts) -> Check:
    """NIXL joins the descriptors of neighbouring blocks, and blocks may span all layers: so a range, from one
    a probe to one for K and one for V of each block and layer."""
    count, probes = window["descriptors"], len(expected.blocks)
    if count is None:
        return uncounted("kv_transfer.descriptors", "vllm:nixl_num_descriptors")
    most = 2 * sum(expected.blocks) * expected.layers if expected.layers else None
    text = f"{count:,} descriptors for {probes} probes"
    right = count >= probes and (most is None or count <= most)
    evidence: Evidence = {"descriptors": count, "least": probes, "most": most}
    return measured("kv_transfer.descriptors", right, text, evidence, "see kv_transfer.bytes")


def check_external(expected: ExpectedTransfer, window: Counts) -> Check:
    """The decode took every prompt token from its peer, or all but each prompt's last, which it computes."""
    hits, most = window["external_hits"], sum(expected.prompt_tokens)
    least = most - len(expected.prompt_tokens)
    if hits is None:
        return uncounted("kv_transfer.external", "vllm:external_prefix_cache_hits")
    text = f"{hits:,} of {most:,} prompt tokens came from the prefill engine"
    evidence: Evidence = {"tokens": hits, "least": least, "most": most}
    return measured("kv_transfer.external", least <= hits <= most, text, evidence, ROUTER_FIX)
