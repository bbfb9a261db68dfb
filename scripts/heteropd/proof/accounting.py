"""What was sent, what was counted, and how a finding about the two is put."""

from __future__ import annotations

from dataclasses import dataclass, field

from heteropd.engine_api.metrics import Counts
from heteropd.proof.verdict import Check, Evidence, Status

ROUTER_MEND = (
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


def missing(name: str, metric: str) -> Check:
    """Not checked, since this vLLM has no such counter."""
    return Check(
        id=f"kv_transfer.{name}",
        group="kv_transfer",
        status="SKIP",
        essential=False,
        says=f"this vLLM does not count {metric}, so this was not checked",
    )


def check(name: str, status: Status, says: str, evidence: Evidence, fix: str) -> Check:
    """A finding of the group ``kv_transfer``; the fix is for a failure."""
    return Check(
        id=f"kv_transfer.{name}",
        group="kv_transfer",
        status=status,
        says=says,
        evidence=evidence,
        fix=fix if status == "FAIL" else None,
    )
