"""Where each engine of a role runs: its host, its ports there, and its share of the host's devices."""

from collections import Counter
from dataclasses import dataclass, field

from heteropd.config.container_options import ContainerOptions
from heteropd.config.env import Env
from heteropd.config.hosts import Host, HostEngine, RoleAdditions
from heteropd.config.request import PlanRequest
from heteropd.config.types import EngineRole, PlatformName
from heteropd.config.vllm_options import VllmOptions
from heteropd.errors import BadInput
from heteropd.plan.arguments import parse
from heteropd.plan.model import HostPlan

LOCAL = HostPlan(name="local", address="127.0.0.1")

ENGINE_ROLES: tuple[EngineRole, EngineRole] = ("prefill", "decode")


@dataclass(frozen=True)
class EnginePlacement:
    """``index`` counts the role's engines, ``ranks`` the devices that each opens. ``visible`` (devices) and
    ``nics`` are as their variables want them, empty where the hosts file does not say."""

    index: int
    host: HostPlan
    port: int
    side_channel: int
    ranks: int = 1
    visible: str = ""
    nics: str = ""
    env: dict[str, str] = field(default_factory=dict)
    image: str | None = None
    container: ContainerOptions = field(default_factory=ContainerOptions)


def places(
    platforms: dict[EngineRole, PlatformName], request: PlanRequest, options: VllmOptions
) -> dict[EngineRole, list[EnginePlacement]]:
    """The places of both roles' engines, in the order of the hosts file; ``platforms`` are the case's, and
    ``options`` are what a role's added arguments are read by.

    A second engine of a role on a host takes the next port. Side channels count on over all engines of a
    host, by their ranks; from a role's own port where the hosts file gives one.
    """
    taken: Counter[str] = Counter()
    return {role: _of_role(role, platforms[role], request, options, taken) for role in ENGINE_ROLES}


def router_place(request: PlanRequest) -> HostPlan:
    """Where the router runs."""
    if request.hosts is None or request.hosts.router is None:
        return LOCAL
    name = request.hosts.router
    return _host_plan(name, request.hosts.hosts[name])


def _of_role(
    role: EngineRole,
    platform: PlatformName,
    request: PlanRequest,
    options: VllmOptions,
    taken: Counter[str],
) -> list[EnginePlacement]:
    parameters, hosts = request.parameters, request.hosts
    names = _host_names(role, platform, request)
    plans = {name: _host_plan(name, hosts.hosts[name]) if hosts else LOCAL for name in names}
    additions = hosts.roles.engine(role) if hosts else RoleAdditions()
    ranks = additions.tensor_parallel_size * parse(additions.args, options).ranks
    sharing = Counter(names)
    placements: list[EnginePlacement] = []
    here: Counter[str] = Counter()
    for index, name in enumerate(names):
        nth = here[name]
        given = additions.side_channel_port
        side_channel = given + nth * ranks if given else parameters.side_channel_port + taken[name]
        here[name] += 1
        taken[name] += ranks
        host = hosts.hosts[name] if hosts else Host(address=LOCAL.address)
        own = engine_of(host, nth)
        place = EnginePlacement(
            index=index,
            host=plans[name],
            port=getattr(parameters, f"{role}_port") + nth,
            side_channel=side_channel,
            ranks=ranks,
            visible=",".join(map(str, devices_of(host, nth, sharing[name]) or [])),
            nics=",".join(own.nics or host.nics or []),
            env=host.env | own.env,
            image=host.image,
            container=host.container,
        )
        placements.append(place)
    return placements


def engine_of(host: Host, nth: int) -> HostEngine:
    """What a host says of its nth engine alone."""
    return host.engines[nth] if nth < len(host.engines) else HostEngine()


def devices_of(host: Host, nth: int, of: int) -> list[int] | None:
    """The devices of a host's nth engine of ``of``; None where the host names none."""
    own = engine_of(host, nth).devices
    return own or (None if host.devices is None else share(host.devices, nth, of))


def bind(host: HostPlan, request: PlanRequest, env: Env) -> str:
    """The address to listen on: this machine alone, or all of the host's, of IPv6 too if it has one."""
    if request.hosts is None:
        return env.defaults.bind["local"]
    return env.defaults.bind["ipv6" if any(":" in address for address in host.addresses) else "remote"]


def share(items: list[int], nth: int, of: int) -> list[int]:
    """The nth of ``of`` parts, in order; of equal size where the number of items allows it."""
    return items[nth * len(items) // of : (nth + 1) * len(items) // of]


def _host_names(role: EngineRole, platform: PlatformName, request: PlanRequest) -> list[str]:
    if request.hosts is None:
        return [LOCAL.name] * int(getattr(request.parameters, f"{role}s"))
    if platform not in request.hosts.platforms:
        where = request.hosts_file or "hosts"
        problem = f"names no host for {platform!r}, which {request.case} needs"
        raise BadInput(where, "platforms", request.hosts.platforms, problem, f"add '{platform}: HOST'")
    return request.hosts.platforms[platform]


def _host_plan(name: str, host: Host) -> HostPlan:
    return HostPlan(
        name=name,
        address=host.address,
        ssh=host.ssh,
        python=host.python,
        management=host.management,
        model=host.model,
        hub_cache=host.hub_cache,
        docker=host.docker,
    )
