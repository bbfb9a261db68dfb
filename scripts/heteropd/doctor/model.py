"""What checks look at: hosts as planned and as found, pairs of them, a running topology."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from heteropd import ucx
from heteropd.config.checks import HostLimits
from heteropd.config.container_options import ContainerOptions
from heteropd.containers import docker_host
from heteropd.doctor.facts import Facts
from heteropd.doctor.nixl import NixlReading, ProgramReport
from heteropd.engine_api.metrics import Counts
from heteropd.findings import ORDER, Status
from heteropd.plan.model import Plan, RolePlan
from heteropd.plan.rules.addresses import SIDE_CHANNEL_HOST

_READ_BY_UCX = ("UCX_", "NIXL_", "LD_", "RDMAV_", "MLX5_", "IBV_")


VISIBLE_DEVICES = {"cuda": "CUDA_VISIBLE_DEVICES", "gaudi": "HABANA_VISIBLE_DEVICES"}


class Outcome(NamedTuple):
    """A check's answer, of which `judge` makes a Finding; ``text`` is the evidence, or why there is none."""

    status: Status
    text: str

    @classmethod
    def judged(cls, good: bool, text: str, otherwise: Status = "FAIL") -> "Outcome":
        """PASS for what is good, else FAIL or what is given."""
        return cls("PASS" if good else otherwise, text)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The first of those with the worst status."""
    return min(outcomes, key=lambda outcome: ORDER.index(outcome.status))


@dataclass(frozen=True)
class EngineTarget:
    """A planned engine, as far as programs take its place on its host.

    ``launch`` starts a shell where its NIXL is (``sh``, or ``docker run …``), and ``python`` is the Python
    there; None where nothing names one.
    """

    role: RolePlan
    launch: tuple[str, ...] = ("sh",)
    python: str | None = None

    @property
    def options(self) -> ContainerOptions | None:
        """Its container's, where it runs in one."""
        return self.role.container.options if self.role.container else None

    @property
    def devices(self) -> tuple[str, ...] | None:
        """The accelerators that it may use, as ``--gpus`` or its variable names them; None for all."""
        options, variable = self.options, VISIBLE_DEVICES.get(self.role.runs_on, "")
        if options and isinstance(options.gpus, list):
            return tuple(options.gpus)
        named = {**(options.env if options else {}), **self.role.env}.get(variable, "all")
        return None if named == "all" else tuple(name.strip() for name in named.split(","))

    @property
    def name(self) -> str:
        return self.role.name

    @property
    def address(self) -> str:
        """Where it announces its side channel."""
        return self.role.env.get(SIDE_CHANNEL_HOST, self.role.host.address)

    @property
    def env(self) -> dict[str, str]:
        """The part of its environment that NIXL, UCX and verbs read."""
        return {name: value for name, value in self.role.env.items() if name.startswith(_READ_BY_UCX)}

    @property
    def verbs(self) -> bool:
        """True where its UCX_TLS names RDMA."""
        return ucx.transports(self.role.env).names_rdma


@dataclass(frozen=True)
class Requirements:
    """What env/ wants of hosts: the oldest Docker, and by platform the version of CUDA or of Gaudi's software
    in the plan's images. Empty where it does not say."""

    docker: str = ""
    software: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HostTarget:
    """A host, how it is reached, and the roles of a plan there: none where no plan names it.

    ``model``: the folder that must hold the model. ``serves``: the plan's own topology is running there and
    holds its ports and accelerators.
    """

    name: str
    ssh: str | None = None
    container: str | None = None
    engines: tuple[EngineTarget, ...] = ()
    router: RolePlan | None = None
    model: str = ""
    serves: bool = False
    needs: Requirements = Requirements()

    @property
    def docker_url(self) -> str:
        """Where Docker listens, as DOCKER_HOST; empty for the usual socket."""
        if self.roles and self.roles[0].host.docker:
            return f"unix://{self.roles[0].host.docker}"
        return "" if self.ssh or self.container else docker_host.address()

    @property
    def roles(self) -> list[RolePlan]:
        return [*(engine.role for engine in self.engines), *([self.router] if self.router else [])]

    @property
    def platforms(self) -> frozenset[str] | None:
        """What its engines run on, or ``router`` alone; None where no plan says it."""
        engines = [engine.role for engine in self.engines]
        return frozenset(role.runs_on for role in engines or self.roles) or None

    @property
    def announced(self) -> tuple[str, ...]:
        """The addresses that engines announce for their side channels."""
        return tuple(dict.fromkeys(engine.address for engine in self.engines))

    @property
    def ports(self) -> dict[int, str]:
        """Planned ports, and what each is for."""
        return {port: f"{role.name} {use}" for role in self.roles for use, port in role.ports.all().items()}

    @property
    def net_devices(self) -> list[str]:
        """What UCX_NET_DEVICES names and must be there."""
        named = [name for engine in self.engines for name in ucx.net_devices(engine.role.env)]
        return list(dict.fromkeys(named))

    @property
    def verbs(self) -> bool:
        """Whether an engine here is to use RDMA, whatever it runs on."""
        return any(engine.verbs for engine in self.engines)

    @property
    def docker(self) -> bool:
        """Whether its roles run in containers."""
        return any(role.container for role in self.roles)


def unknown_python(target: HostTarget) -> str:
    """What to say where nothing names a Python that has NIXL."""
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
        drivers = {"cuda": self.facts.nvidia, "gaudi": self.facts.accel}
        found = {name for name, driver in drivers.items() if driver or name in self.facts.cards}
        return frozenset(found or {"cpu"})

    @property
    def verbs(self) -> bool:
        """Whether RDMA is wanted here: as planned, else where there is an accelerator."""
        return self.target.verbs if self.target.platforms is not None else self.platforms != {"cpu"}


ReportOrReason = tuple[ProgramReport, ProgramReport] | str


@dataclass(frozen=True)
class ExaminedPair:
    """Two hosts whose engines exchange KV, and what their programs reported, in the hosts' order; a text
    where they were not run, and why."""

    hosts: tuple[ExaminedHost, ExaminedHost]
    channel: ReportOrReason
    ping: ReportOrReason
    transfer: ReportOrReason


@dataclass(frozen=True)
class Running:
    """A running topology: what its engines counted, and what their logs say. Logs are None when unreadable.

    ``unhealthy``: roles that do not run or are not healthy, and how they are. ``forbidden``: transports that
    may not be used, by what an engine runs on. ``routed``: requests that the router sent to a prefill and a
    decode. ``token_bytes``: KV of a token, None where the model's configuration does not tell it.
    ``recomputing``: decodes that compute a prompt themselves where its KV does not come.
    """

    plan: Plan
    prefill: Counts
    decode: Counts
    logs: Mapping[str, str | None]
    forbidden: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unhealthy: Mapping[str, str] = field(default_factory=dict)
    routed: int | None = None
    token_bytes: int | None = None
    recomputing: tuple[str, ...] = ()
