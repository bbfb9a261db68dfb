"""A hosts file: where roles run and how they are reached."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from heteropd.spec.types import (
    Address,
    Data,
    EngineRole,
    EnvName,
    HostFile,
    Name,
    PlatformName,
    Port,
    SshDestination,
)


class Host(Data):
    """One machine. ``address`` is what its peers connect to; without ``ssh`` it is this machine."""

    address: Address
    ssh: SshDestination | None = Field(default=None, description="user@host or an ssh alias")
    python: HostFile | None = Field(
        default=None, description="Python there that has NIXL; ${ENGINE_PYTHON} of a plan stands for it"
    )


class RoleAdditions(Data):
    """Additions to what the kit renders for a role: rules look at the result."""

    env: dict[EnvName, str] = Field(default_factory=dict)
    args: list[str] = Field(default_factory=list, description="Appended to the engine's command")
    side_channel_port: Port | None = None


class Hosts(Data):
    """One hosts file: machines by name, the machine of each platform, and the router's machine."""

    hosts: dict[Name, Host] = Field(min_length=1)
    platforms: dict[PlatformName, str]
    router: str | None = Field(default=None, description="Host of the router; this machine where null")
    standin: bool = Field(default=False, description="Run CPU stand-ins on these hosts")
    roles: dict[EngineRole, RoleAdditions] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict, description="As on the command line")

    @model_validator(mode="after")
    def _known_hosts(self) -> Self:
        named = {f"platforms.{key}": name for key, name in self.platforms.items()}
        if self.router is not None:
            named["router"] = self.router
        for field, name in named.items():
            if name not in self.hosts:
                known = ", ".join(sorted(self.hosts))
                raise ValueError(
                    f"{field} names the host {name!r}, which is not in 'hosts'; use one of: {known}"
                )
        return self
