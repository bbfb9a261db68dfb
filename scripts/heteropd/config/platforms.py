"""What an engine needs on a platform, and what the platform's connector can do.

Texts may hold ``{fields}`` that the renderer fills in: model, served_name, port, address, kv_layout,
block_size, side_channel_port, cores, router_url and so on; ``${NAME}`` is left for the process that starts.
"""

import re

from pydantic import Field

from heteropd.config.container_options import ContainerOptions
from heteropd.config.types import (
    Data,
    DnsLabel,
    EngineRole,
    EnvName,
    PlatformName,
    Quantity,
    ResourceName,
    SecurityName,
)

_RELEASE = re.compile(r"(\d+)\.(\d+)")


class KVTransfer(Data):
    """The platform's part of ``--kv-transfer-config``."""

    kv_buffer_device: str
    enable_permute_local_kv: bool | str | None = Field(
        default=None, description="As the launch script gives it; left out where null"
    )


class Receives(Data):
    """What an engine on this platform converts when it pulls KV blocks."""

    layout: bool = Field(description="HND on the wire into an NHD cache, with enable_permute_local_kv")
    block: bool = Field(description="Smaller blocks on the wire into larger blocks of the cache")


class Transports(Data):
    """Rules for UCX_TLS, by transports' own names: ``rc_verbs``, not the aliases that stand for it."""

    device: str | None = Field(default=None, description="Without it UCX cannot touch the device's memory")
    any_of: list[str] = Field(
        default_factory=list, description="One of these must be allowed: what both platforms have"
    )
    forbidden: list[str] = Field(default_factory=list, description="Hide a broken fabric behind a slow path")


class Container(Data):
    """What a container needs on this platform: options, or the words of ``docker run``."""

    args: ContainerOptions | None = Field(default=None, description="Instead of what every accelerator needs")
    device_args: ContainerOptions = ContainerOptions()
    least_args: ContainerOptions = Field(default=ContainerOptions(), description="Instead of --privileged")


class Pod(Data):
    """What a pod needs beyond what the container's arguments say."""

    accelerator: ResourceName | None = Field(
        default=None, description="What the device plugin calls one accelerator"
    )
    runtime_class: DnsLabel | None = Field(
        default=None, description="Where the accelerator's container runtime is not the nodes' default"
    )
    plugin_env: list[EnvName] = Field(
        default_factory=list, description="Variables that the device plugin sets, whatever docker is told"
    )
    host_network: bool = Field(
        default=False, description="--net=host is the node's network here, not the pod's own"
    )
    requests: dict[ResourceName, Quantity] = Field(default_factory=dict)
    shm: Quantity | None = Field(default=None, description="Size of /dev/shm; the cluster's own where null")


class ProcessNeeds(Data):
    """What a machine must have before an engine's environment is made there."""

    driver: int = Field(ge=1, description="Oldest driver, by its first number")
    disk_gib: float = Field(gt=0)


class Platform(Data):
    """One file of env/platforms."""

    title: str
    accelerator: bool
    dtype: str | None = Field(default=None, description="Forced data type; the model's own where null")
    block_multiple: int = Field(default=1, ge=1, description="Block sizes that attention accepts")
    kv_transfer: KVTransfer
    receives: Receives
    transports: Transports
    env: dict[EnvName, str]
    visible_devices: EnvName | None = Field(
        default=None, description="Variable that names an engine's devices, where a hosts file says which"
    )
    argv: list[str] = Field(default_factory=list, description="After what all accelerators share")
    local_env: dict[EnvName, str] = Field(
        default_factory=dict, description="Added when all roles are on this machine"
    )
    local_model_env: dict[EnvName, str] = Field(
        default_factory=dict, description="Added when the model is on this machine"
    )
    container: Container = Container()
    kubernetes: Pod = Pod()
    alone_env: dict[EnvName, str] = Field(
        default_factory=dict, description="Added where stand-ins take every engine's place"
    )
    alone_argv: list[str] = Field(default_factory=list, description="Likewise")
    process: ProcessNeeds | None = Field(
        default=None, description="What its engine needs as a process of this machine; null: cannot be one"
    )
    health_path: str = "/health"


class Engines(Data):
    """What engines on real accelerators share, whatever the vendor."""

    env: dict[EnvName, str]
    argv: list[str] = Field(min_length=1)
    process_argv: list[str] = Field(min_length=1, description="Instead, as a process of this machine")
    nixl_connector: dict[str, int] = Field(
        description="By release of vLLM: version that its NixlConnector shows in the handshake"
    )
    one_way_from: str = Field(
        pattern=_RELEASE.pattern, description="Release from which kv_role must say which way KV goes"
    )

    def kv_role(self, role: EngineRole, vllm: str) -> str:
        """``kv_role`` as this version of vLLM wants it."""
        if _release(vllm) < _release(self.one_way_from):
            return "kv_both"
        return {"prefill": "kv_producer", "decode": "kv_consumer"}[role]


def _release(version: str) -> tuple[int, ...]:
    found = _RELEASE.match(version)
    return tuple(map(int, found.groups())) if found else ()


class Containers(Data):
    """Arguments that every accelerator's container needs, by how much it is trusted."""

    args: dict[SecurityName, ContainerOptions]
    image: str = Field(description="Name of the kit's images")


class TokenSecret(Data):
    """The Secret that may hold the model hub's token. It need not exist."""

    secret: DnsLabel
    key: str


class Kubernetes(Data):
    """What manifests need and no container argument says."""

    devices: dict[str, ResourceName] = Field(description="Resource that stands for a --device=")
    token: TokenSecret
    router: Pod


class Connector(Data):
    """A KV connector that is not vLLM's own."""

    connector: str
    connector_module: str


class StandInConnectors(Data):
    """KV connectors of stand-ins, where vLLM's own does not do."""

    connector: str = Field(description="Of a prefill that converts on save")
    decode_connector: str = Field(description="Of a decode, which converts what it receives")
    connector_module: str


class StandIn(StandInConnectors):
    """What takes a platform's place on a machine without it."""

    platform: PlatformName
    digest: StandInConnectors = Field(description="The same connectors with the KV digest before them")
