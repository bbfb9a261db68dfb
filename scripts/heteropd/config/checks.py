"""What plans, hosts and topologies are checked for, in words that reports and docs share; known failures."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from heteropd.config.types import Data, PlatformName, matching

Tier = Literal["node", "pair", "topology"]
CheckId = Annotated[
    str,
    matching(
        r"T[234]-[0-9]{2}-[a-z0-9-]+", "is not the id of a check", "write T2-NUMBER-words, T3-… or T4-…"
    ),
]
Thread = Annotated[
    str, matching(r"[\w.-]+/[\w.-]+#[0-9]+", "is not a thread", "write owner/repository#number")
]

Reference = Annotated[
    str,
    matching(
        r"[PT][0-9]{1,2}-[a-z0-9-]+|tests/infra/[\w/]+\.py::\w+|(connectivity|identity|kv_transfer|integrity)\.\w+",
        "is not a rule, a check or a test",
        "write P08-…, T2-…, tests/infra/FILE::TEST, or GROUP.NAME of the proof",
    ),
]
FAILURES = 39

_TIERS: dict[str, Tier] = {"T2": "node", "T3": "pair", "T4": "topology"}


class CheckEntry(Data):
    """One check. ``why`` is what happens when it fails; ``fix`` what to do about it."""

    title: str = Field(description="What must hold")
    why: str
    fix: str
    fix_container: str = Field(default="", description="The fix with container=, where it is another")
    failure: int | None = Field(
        default=None, ge=1, le=FAILURES, description="Number of the known failure mode"
    )
    platforms: list[PlatformName | Literal["router"]] = Field(
        min_length=1, description="What runs where it is for"
    )
    verbs: bool = Field(
        default=False,
        description="For hosts whose engines name RDMA in UCX_TLS; by `platforms` where no plan says it",
    )
    threads: list[Thread] = Field(default_factory=list, description="Where the failure was reported")


class HostLimits(Data):
    """What a host of an engine has free, in GiB, and what two of them keep; else its check warns or fails."""

    memory_gib: float = Field(gt=0)
    standin_memory_gib: float = Field(gt=0, description="For each stand-in engine with the default model")
    disk_gib: float = Field(gt=0)
    shared_memory_gib: float = Field(gt=0)
    bandwidth_mb_s: float = Field(gt=0, description="MB/s of a NIXL transfer between cards")
    clock_skew_s: float = Field(gt=0, description="Seconds between two hosts' clocks")
    drivers: dict[str, str] = Field(description="Oldest NVIDIA driver of a CUDA version and those after it")
    tcp_retries: int = Field(
        gt=0, description="net.ipv4.tcp_retries2: 8 take about 100 s, Linux's 15 about 15 minutes"
    )


class Failure(Data):
    """A known failure, and either what catches it or why nothing does."""

    title: str
    caught_by: list[Reference] = Field(default_factory=list)
    not_covered: str | None = Field(default=None, description="Why nothing catches it")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.caught_by) == bool(self.not_covered):
            raise ValueError("says both or neither of what catches it and why nothing does; give one of them")
        return self


class Checks(Data):
    """env/checks.yaml."""

    limits: HostLimits
    checks: dict[CheckId, CheckEntry]
    failures: dict[int, Failure] = Field(description="By number, all of them")

    @model_validator(mode="after")
    def _all_failures(self) -> Self:
        if set(self.failures) != set(range(1, FAILURES + 1)):
            raise ValueError(f"failures are not those from 1 to {FAILURES}; add or take away what differs")
        return self

    @property
    def covered(self) -> int:
        """How many failures something catches."""
        return sum(bool(failure.caught_by) for failure in self.failures.values())


def tier(name: str) -> Tier:
    """The tier that a check's id says: ``T2`` a node, ``T3`` a pair of nodes, ``T4`` a running topology."""
    return _TIERS[name[:2]]


RuleId = Annotated[str, matching(r"P[0-9]{2}-[a-z0-9-]+", "is not the id of a rule", "write P99-words")]


class RuleEntry(Data):
    """One rule. A broken one that is ``refused`` stops a plan; one that is ``warned`` leaves a note."""

    broken: Literal["refused", "warned"]
    holds: str = Field(description="What must hold")
    source: str = Field(description="Where the failure is known from")


class Rules(Data):
    """env/rules.yaml: what every plan is held against."""

    rules: dict[RuleId, RuleEntry]


class InfraFacts(Data):
    """env/infra.yaml: what the testinfra suites want of hosts, their libraries and kernel modules."""

    active_mtu: int = Field(gt=0, description="Bytes that an active RDMA port sends at once, at least")
    libraries: list[str] = Field(min_length=1, description="At most one copy of each in a process")
    rdma_modules: dict[str, str] = Field(description="Kernel module of a device, by how its name begins")
    accelerator_modules: dict[PlatformName, list[str]]
