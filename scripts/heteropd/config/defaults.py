"""The kit's defaults: the lowest layer of the parameters, and the router's own settings."""

from pydantic import Field

from heteropd.config.platforms import Connector, Containers, Engines, Kubernetes, StandIn
from heteropd.config.types import Data, PlatformName, Port, RouterName, RuntimeName, SecurityName


class Choices(Data):
    """Defaults that differ between real hosts and stand-ins."""

    pins: str
    model: str
    runtime: RuntimeName


class PortDefaults(Data):
    """Ports. ``side_channel`` is vLLM's own default; a second engine on a host gets the next one."""

    port: Port
    prefill_port: Port
    decode_port: Port
    side_channel: Port
    router_metrics: Port


class Router(Data):
    """How one kind of router is started and asked for its health."""

    argv: list[str | list[str]] = Field(
        min_length=1, description="Words; a list among them stands once for every engine of the role it names"
    )
    health_path: str
    metrics: bool = False


class TimeoutDefaults(Data):
    """Seconds, by what is waited for."""

    ready: float = Field(gt=0, description="From the start until a completion comes through the router")
    stop: float = Field(gt=0, description="Between asking a process to end and killing it")
    request: float = Field(gt=0, description="One completion")
    health: float = Field(gt=0, description="One health answer")
    token: float = Field(gt=0, description="One token of one engine, when the status is looked at")
    poll: float = Field(gt=0, description="Between two looks")
    heartbeat: float = Field(gt=0, description="Between two lines of progress, without a terminal")


class Defaults(Data):
    """env/defaults.yaml."""

    ports: PortDefaults
    router: RouterName
    security: SecurityName
    hardware: Choices
    bind: dict[str, str] = Field(description="Addresses to listen on: 'local', 'remote' and 'ipv6'")
    engines: Engines
    containers: Containers
    kubernetes: Kubernetes
    digest: Connector = Field(description="What takes NixlConnector's place with the parameter 'digest'")
    routers: dict[RouterName, Router]
    timeouts: TimeoutDefaults


class Beside(Data):
    """A plan of stand-ins and real engines."""

    defaults: Choices
    dtype: str = Field(description="Of every engine's KV cache")
    argv: list[str] = Field(description="Added to the real engines")
    advice: str = Field(description="Added to what the plan says of such a pair")


class StandIns(Data):
    """env/standins.yaml: what takes a platform's place on a machine without it, and what changes."""

    defaults: Choices
    beside: Beside
    platforms: dict[PlatformName, StandIn]
