"""What checks look at, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from heteropd.plan.model import Plan
from heteropd.preflight.facts import Facts
from heteropd.spec.checks import Limits
from heteropd.validate.metrics import Counts

Status = Literal["PASS", "WARN", "FAIL", "SKIP"]


@dataclass(frozen=True)
class Outcome:
    """What a check found; ``text`` is the evidence, or why there is none."""

    status: Status
    text: str


@dataclass(frozen=True)
class Result:
    """An outcome at its place: a host, two hosts, a role of the topology."""

    check: str
    place: str
    status: Status
    text: str
    mend: str | None = None
    threads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A host and what a plan wants of it.

    ``platforms`` is what the engines there run on, None where no plan says it. ``devices``: the ports that
    UCX_NET_DEVICES names. ``serves``: the plan's own topology is running there and holds its ports and cards.
    """

    name: str
    ssh: str | None = None
    container: str | None = None
    platforms: frozenset[str] | None = None
    announced: tuple[str, ...] = ()
    ports: Mapping[int, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    model: str = ""
    engines: int = 0
    docker: bool = False
    serves: bool = False


@dataclass(frozen=True)
class Node:
    """A host with its facts."""

    target: Target
    facts: Facts
    limits: Limits

    @property
    def platforms(self) -> frozenset[str]:
        """What engines here run on: as planned, else what accelerators this host has, else ``cpu``."""
        if self.target.platforms is not None:
            return self.target.platforms
        facts = self.facts
        found = {"cuda": facts.gpus or facts.nvidia, "gaudi": facts.hpus or facts.accel}
        return frozenset(name for name, there in found.items() if there) or frozenset({"cpu"})


@dataclass(frozen=True)
class Running:
    """A running topology: what its engines counted, and what their logs say. Logs are None when unreadable.

    ``ill``: roles that do not run or are not healthy, and how they are. ``forbidden``: transports that
    may not be used, by what an engine runs on.
    """

    plan: Plan
    prefill: Counts
    decode: Counts
    logs: Mapping[str, str | None]
    forbidden: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ill: Mapping[str, str] = field(default_factory=dict)
