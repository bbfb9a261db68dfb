"""What the doctor checks: one entry a check, in words that reports and docs/troubleshooting.md share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from heteropd.spec.types import Data, PlatformName, _matching

Tier = Literal["node", "pair", "topology"]
CheckId = Annotated[
    str,
    _matching(r"T[234]-[0-9]{2}-[a-z0-9-]+", "is not the id of a check", "write T2-09-words, T3-… or T4-…"),
]
Thread = Annotated[
    str, _matching(r"[\w.-]+/[\w.-]+#[0-9]+", "is not a thread", "write owner/repository#number")
]

_TIERS: dict[str, Tier] = {"T2": "node", "T3": "pair", "T4": "topology"}


class CheckEntry(Data):
    """One check. ``why`` is what happens when it fails; ``mend`` what to do about it."""

    title: str = Field(description="What must hold")
    why: str
    mend: str
    failure: int | None = Field(default=None, ge=1, le=39, description="Number of the known failure mode")
    platforms: list[PlatformName | Literal["router"]] = Field(
        min_length=1, description="What runs where it is for"
    )
    verbs: bool = Field(
        default=False,
        description="For hosts whose engines name RDMA in UCX_TLS; by `platforms` where no plan says it",
    )
    threads: list[Thread] = Field(default_factory=list, description="Where the failure was reported")


class Limits(Data):
    """What a host of an engine has free, in GiB, and what two of them keep; else its check warns or fails."""

    memory_gib: float = Field(gt=0)
    standin_memory_gib: float = Field(gt=0, description="For each stand-in engine with the default model")
    disk_gib: float = Field(gt=0)
    shared_memory_gib: float = Field(gt=0)
    bandwidth_mb_s: float = Field(gt=0, description="MB/s of a NIXL transfer between cards")
    clock_skew_s: float = Field(gt=0, description="Seconds between two hosts' clocks")


class Checks(Data):
    """env/checks.yaml."""

    limits: Limits
    checks: dict[CheckId, CheckEntry]


def tier(name: str) -> Tier:
    """The tier that a check's id says: ``T2`` a node, ``T3`` a pair of nodes, ``T4`` a running topology."""
    return _TIERS[name[:2]]
