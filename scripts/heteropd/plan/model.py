"""What a plan is: everything that will run, fully rendered, and nothing running yet.

A plan is plain data. It is made by `heteropd.plan.render`, printed by `heteropd.export`, run by a
runtime, kept in the state folder, and read again by validation. It never holds a secret.
"""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from heteropd.config.container_options import ContainerOptions, parse
from heteropd.config.types import KVLayout, Role


class _PlanData(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KVGeometry(_PlanData):
    """How one engine keeps its KV cache, and how it shows it to its peer.

    ``block_size`` counts tokens in a block of the engine's own cache (``--block-size``).
    ``wire_block_size`` counts tokens in a block as the peer addresses it over NIXL: smaller than
    ``block_size`` only on a prefill that converts on save to an agreed block size.
    """

    layout: KVLayout
    block_size: int
    wire_layout: KVLayout
    wire_block_size: int
    permute_on_receive: bool = False
    convert_on_save: bool = False


class Ports(_PlanData):
    """TCP ports that a role listens on, on its host. ``api`` serves HTTP; the others as named.

    An engine of several ranks has as many side channels, from ``side_channel`` on: which of them a vLLM opens
    differs by version, so all are kept free.
    """

    api: int
    side_channel: int | None = None
    side_channels: int = Field(default=1, exclude_if=lambda count: count == 1)
    metrics: int | None = None

    def all(self) -> dict[str, int]:
        """Every port by its name."""
        named = {"api": self.api, "side_channel": self.side_channel, "metrics": self.metrics}
        ports = {name: port for name, port in named.items() if port is not None}
        for rank in range(1, self.side_channels if self.side_channel else 1):
            ports[f"side_channel_{rank}"] = ports["side_channel"] + rank
        return ports


class ContainerPlan(_PlanData):
    """Container arguments for the docker runtime, as ``docker run`` would take them, in order: ``args``, then
    ``device_args`` (what hands the accelerator to the container)."""

    image: str
    args: list[str]
    device_args: list[str] = Field(default_factory=list)

    @property
    def options(self) -> ContainerOptions:
        """All of them, typed. Raises BadInput for an argument that is not known."""
        return parse([*self.args, *self.device_args], "plan")


class HostPlan(_PlanData):
    """Where a role runs. ``address`` is what its peers connect to, ``management`` what this machine does,
    where it differs; ``ssh`` is None for this machine; ``python`` is the Python there that has NIXL,
    ``model`` the folder there that holds the model, ``hub_cache`` HF_HOME there and ``docker`` the socket of
    its container engine, where the hosts file says them."""

    name: str
    address: str
    ssh: str | None = None
    python: str | None = None
    management: str | None = Field(default=None, exclude_if=lambda value: value is None)
    model: str | None = Field(default=None, exclude_if=lambda value: value is None)
    hub_cache: str | None = Field(default=None, exclude_if=lambda value: value is None)
    docker: str | None = Field(default=None, exclude_if=lambda value: value is None)

    @property
    def addresses(self) -> list[str]:
        """Where it is reached: by its peers and by this machine."""
        return [address for address in (self.address, self.management) if address]


class RolePlan(_PlanData):
    """One engine or router. ``env`` holds additions to the environment; ``${NAME}`` in a value stands for
    the variable of the process that starts the role, as in the source document's scripts."""

    name: str = Field(description="Unique in the plan: prefill-0, decode-0, router")
    role: Role
    platform: str = Field(description="What the case asks for: cuda, gaudi; router for the router")
    runs_on: str = Field(description="What it runs on: platform, or cpu where a stand-in takes its place")
    host: HostPlan
    env: dict[str, str]
    argv: list[str]
    ports: Ports
    kv: KVGeometry | None = None
    dtype: str | None = None
    cores: list[int] = Field(default_factory=list, description="CPU cores an engine's threads are bound to")
    container: ContainerPlan | None = None
    health_path: str = "/health"

    @property
    def standin(self) -> bool:
        return self.role != "router" and self.runs_on != self.platform

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        return self._at(self.host.management or self.host.address)

    @property
    def peer_url(self) -> str:
        """Where the other roles reach it."""
        return self._at(self.host.address)

    def _at(self, address: str) -> str:
        return f"http://{f'[{address}]' if ':' in address else address}:{self.ports.api}"


class Note(_PlanData):
    """Something a user should know about a plan that was not refused. ``rule`` is a rule's id or None."""

    rule: str | None
    text: str


class Plan(_PlanData):
    """A topology that can be started: roles in start order (engines first, router last)."""

    case: str
    pins: str = Field(description="Name of the pin set")
    variant: str = Field(description="Variant of the pin set: base, decode-post-process, …")
    runtime: Literal["process", "docker"]
    model: str = Field(description="The name that requests carry")
    model_source: str = Field(description="What engines load: a hub id, a folder, or package:NAME")
    parameters: dict[str, str | int | float]
    agreed_block_size: int | None
    roles: list[RolePlan]
    notes: list[Note] = Field(default_factory=list)

    @property
    def standin(self) -> bool:
        """True when any engine is a CPU stand-in: such a run proves the software path, not the hardware."""
        return any(role.standin for role in self.roles)

    @property
    def real(self) -> dict[str, str]:
        """What engines that are no stand-ins run on, by name; empty where all are one or all the other."""
        real = {role.name: role.runs_on for role in self.engines if not role.standin}
        return real if self.standin else {}

    @property
    def ready_timeout(self) -> int | None:
        """Seconds that its start may take, where its user says so."""
        seconds = self.parameters.get("ready_timeout")
        return int(seconds) if seconds else None

    @property
    def engines(self) -> list[RolePlan]:
        return [role for role in self.roles if role.role != "router"]

    @property
    def roles_here(self) -> list[RolePlan]:
        """Roles whose host is this machine."""
        return [role for role in self.roles if role.host.ssh is None]

    def of(self, role: Role) -> list[RolePlan]:
        return [entry for entry in self.roles if entry.role == role]

    @property
    def router(self) -> RolePlan:
        return self.of("router")[0]

    def fingerprint(self) -> str:
        """SHA-256 over the plan's content: equal plans are the same topology."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
