"""The KV digest's verdict on what was sent: exact, where log-probabilities are statistical."""

from heteropd.engine_api.metrics import Counts
from heteropd.plan.model import Plan
from heteropd.proof.accounting import uncounted
from heteropd.proof.verdict import Check, checked

_FIX = "the decode's log names layer, head and token of each prompt (make logs); docs/digest.md"


def checks(plan: Plan, decode: Counts) -> list[Check]:
    """One check where the plan has the digest, over everything that the decodes received; else none."""
    if plan.parameters.get("digest", "off") == "off":
        return []
    names = ("equal", "differs", "unknown", "left_out")
    counted = {name: decode[f"digests_{name}"] for name in names}
    transfers = decode["transfers"]
    if transfers is None or None in counted.values():
        return [uncounted("kv_digest.equal", "heteropd:kv_digests_equal")]
    seen = sum(count or 0 for count in counted.values())
    wrong = [f"{name} {counted[name]}" for name in ("differs", "unknown") if counted[name]]
    problem = f"digests of received prompts: {', '.join(wrong)}" if wrong else None
    if not problem and seen != transfers:
        problem = f"{seen} of {transfers} received prompts were looked at"
    if not problem and not counted["equal"]:
        problem = "the sample left every prompt out; validate with digest_sample=1"
    text = f"{counted['equal']} of {transfers} received prompts have the prefill's digest, to the bit"
    return [checked("kv_digest.equal", problem, text, {**counted, "transfers": transfers}, _FIX)]
