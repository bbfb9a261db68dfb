"""What checks look at, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from heteropd import ucx
from heteropd.config.checks import HostLimits
from heteropd.doctor.facts import Facts
from heteropd.doctor.nixl import NixlReading, ProgramReport
from heteropd.engine_api.metrics import Counts
from heteropd.plan.model import Plan

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
    fix: str | None = None
    threads: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineTarget:
    """An engine that is to run on a host, as far as programs take its place there.

    ``env`` is the part of its environment that NIXL and UCX read. ``launch`` starts a shell where its NIXL is
    (``sh``, or ``docker run …``), and ``python`` is the Python there; None where nobody said which.
    """

    name: str
    address: str = ""
    side_channel: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    standin: bool = False
    launch: tuple[str, ...] = ("sh",)
    python: str | None = None

    @property
    def verbs(self) -> bool:
        """True where its UCX_TLS names RDMA."""
        return ucx.transports(self.env).names_rdma


@dataclass(frozen=True)
class HostTarget:
    """A host and what a plan wants of it.

    ``platforms`` is what the engines there run on, None where no plan says it. ``devices``: the ports that
    UCX_NET_DEVICES names. ``verbs``: an engine there is to use RDMA, whatever it runs on. ``serves``: the
    plan's own topology is running there and holds its ports and cards.
    """

    name: str
    ssh: str | None = None
    container: str | None = None
    platforms: frozenset[str] | None = None
    announced: tuple[str, ...] = ()
    ports: Mapping[int, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    model: str = ""
    engines: tuple[EngineTarget, ...] = ()
    verbs: bool = False
    docker: bool = False
    serves: bool = False


def unknown_python(target: HostTarget) -> str:
    """What to say where nobody named a Python that has NIXL."""
    return f"no Python with NIXL is known on {target.name}: name it as `python:` in the hosts file"


@dataclass(frozen=True)
class ExaminedHost:
    """A host with its facts."""

    target: HostTarget
    facts: Facts
    limits: HostLimits
    nixl: tuple[NixlReading, ...] = ()

    @property
    def platforms(self) -> frozenset[str]:
        """What engines here run on: as planned, else what accelerators this host has, else ``cpu``."""
        if self.target.platforms is not None:
            return self.target.platforms
        facts = self.facts
        found = {"cuda": facts.gpus or facts.nvidia, "gaudi": facts.hpus or facts.accel}
        return frozenset(name for name, there in found.items() if there) or frozenset({"cpu"})

    @property
    def verbs(self) -> bool:
        """Whether RDMA is wanted here: as planned, else where there is an accelerator."""
        return self.target.verbs if self.target.platforms is not None else self.platforms != {"cpu"}


ReportOrReason = tuple[ProgramReport, ProgramReport] | str


@dataclass(frozen=True)
class Exchange:
    """What two hosts' programs reported, in their order; a text where they were not run, and why."""

    channel: ReportOrReason
    ping: ReportOrReason
    transfer: ReportOrReason


@dataclass(frozen=True)
class ExaminedPair:
    """Two hosts whose engines exchange KV, and what they sent to each other."""

    one: ExaminedHost
    other: ExaminedHost
    seen: Exchange


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
