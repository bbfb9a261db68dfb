"""A hosts file: where roles run and how they are reached."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from heteropd.config.container_options import ContainerOptions
from heteropd.config.types import (
    Address,
    Data,
    EngineRole,
    EnvName,
    HostFile,
    HostFolder,
    HostSocket,
    ImageRef,
    Name,
    NetDevice,
    OneOrMore,
    PlatformName,
    Port,
    Role,
    SshDestination,
    Word,
    unique,
)
from heteropd.errors import did_you_mean

Devices = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(unique)]
Nics = Annotated[list[NetDevice], Field(min_length=1), AfterValidator(unique)]


class HostEngine(Data):
    """What one engine of a host has for itself, instead of what the host says for all."""

    devices: Devices | None = None
    nics: Nics | None = None
    env: dict[EnvName, Word] = Field(default_factory=dict)


class Host(Data):
    """One machine. ``address`` is what its peers connect to; without ``ssh`` it is this machine."""

    address: Address
    management: Address | None = Field(
        default=None, description="What this machine connects to (health, requests, metrics) where it differs"
    )
    ssh: SshDestination | None = Field(default=None, description="user@host or an ssh alias")
    python: HostFile | None = Field(
        default=None, description="Python there that has NIXL; ${ENGINE_PYTHON} of a plan stands for it"
    )
    devices: Devices | None = Field(
        default=None, description="Accelerators that its engines share evenly, by index; all where null"
    )
    nics: Nics | None = Field(
        default=None, description="UCX_NET_DEVICES of each of its engines, such as mlx5_0:1"
    )
    image: ImageRef | None = Field(
        default=None, description="Image of its engines, instead of the kit's or the published one"
    )
    model: HostFolder | None = Field(
        default=None, description="Folder there that holds the model; requests go on naming it as asked"
    )
    hub_cache: HostFolder | None = Field(
        default=None, description="HF_HOME there, for models of the hub; the volume heteropd-hub where null"
    )
    docker: HostSocket | None = Field(
        default=None, description="Socket of its container engine; /var/run/docker.sock where null"
    )
    standin: bool = Field(default=False, description="CPU stand-ins take its engines' places")
    env: dict[EnvName, Word] = Field(default_factory=dict, description="Environment of its engines")
    container: ContainerOptions = Field(
        default=ContainerOptions(), description="Options of its engines' containers, beside the platform's"
    )
    engines: list[HostEngine] = Field(
        default_factory=list, description="What each of its engines has for itself, in their order"
    )


class ProgramAdditions(Data):
    """Additions to what the kit renders for a program: rules look at the result."""

    env: dict[EnvName, Word] = Field(default_factory=dict)
    args: list[Word] = Field(default_factory=list, description="Appended to its command")


class RoleAdditions(ProgramAdditions):
    """Additions to an engine."""

    side_channel_port: Port | None = None
    tensor_parallel_size: int = Field(
        default=1, ge=1, description="Devices that one engine's model is split over"
    )


class Roles(Data):
    """What is added to each role."""

    prefill: RoleAdditions = RoleAdditions()
    decode: RoleAdditions = RoleAdditions()
    router: ProgramAdditions = ProgramAdditions()

    def engine(self, role: EngineRole) -> RoleAdditions:
        """Of an engine's role."""
        return self.prefill if role == "prefill" else self.decode

    def given(self) -> dict[Role, ProgramAdditions]:
        """Of the roles that the file speaks of."""
        every: dict[Role, ProgramAdditions] = {
            "prefill": self.prefill,
            "decode": self.decode,
            "router": self.router,
        }
        return {role: additions for role, additions in every.items() if role in self.model_fields_set}


class Hosts(Data):
    """One hosts file: machines by name, the machines of each platform, and the router's machine."""

    hosts: dict[Name, Host] = Field(min_length=1)
    platforms: dict[PlatformName, OneOrMore] = Field(
        description="Hosts of each platform's engines: one name, or a list with one name an engine"
    )
    router: str | None = Field(default=None, description="Host of the router; this machine where null")
    standin: bool = Field(default=False, description="Run CPU stand-ins on all of these hosts")
    roles: Roles = Roles()
    parameters: dict[str, Any] = Field(default_factory=dict, description="As on the command line")

    @property
    def none_is_real(self) -> bool:
        """True where every host that has engines says ``standin: true`` itself."""
        names = [name for several in self.platforms.values() for name in several]
        return bool(names) and all(self.hosts[name].standin for name in names)

    def images(self) -> dict[str, str]:
        """The images that hosts name, by their fields."""
        return {f"hosts.{name}.image": host.image for name, host in self.hosts.items() if host.image}

    @property
    def need_containers(self) -> bool:
        """True where a role's host is reached over ssh, and no Python there is named for its processes."""
        names = {name for several in self.platforms.values() for name in several} | {self.router}
        return any(host.ssh and not host.python for name, host in self.hosts.items() if name in names)

    @model_validator(mode="after")
    def _known_hosts(self) -> Self:
        named = [(f"platforms.{key}", name) for key, names in self.platforms.items() for name in names]
        if self.router is not None:
            named.append(("router", self.router))
        for field, name in named:
            if name not in self.hosts:
                problem = f"{field} names the host {name!r}, which is not in 'hosts'"
                raise ValueError(f"{problem}; {did_you_mean(name, self.hosts, listed='hosts:')}")
        return self
