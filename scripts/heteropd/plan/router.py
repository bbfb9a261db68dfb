"""Renders the router, which clients talk to."""

from collections.abc import Mapping, Sequence

from heteropd.config.env import Env
from heteropd.config.hosts import ProgramAdditions
from heteropd.config.request import PlanRequest
from heteropd.errors import BadInput
from heteropd.plan.container_options import router_container
from heteropd.plan.environment import with_peers_exempt
from heteropd.plan.model import HostPlan, Ports, RolePlan
from heteropd.plan.placement import bind
from heteropd.plan.template import fill, fill_all

_WHERE = "env/defaults.yaml"
_Fields = Mapping[str, str | int]


def render_router(
    engines: list[RolePlan], host: HostPlan, variant: str, request: PlanRequest, env: Env
) -> RolePlan:
    """The router of kind ``request.parameters.router`` in front of all engines."""
    parameters = request.parameters
    if parameters.router == "toy" and (request.standin or request.hosts is None):
        problem = "the toy proxy is part of the vllm-gaudi tree, which stand-ins do not have"
        raise BadInput(
            request.origins["router"], "router", "toy", problem, "use router=vllm, or give hosts=FILE"
        )
    kind = env.defaults.routers[parameters.router]
    metrics = parameters.metrics_port if kind.metrics else None
    fields: dict[str, str | int] = {
        "bin": "${ENGINE_BIN}/" if request.standin or request.hosts is None else "",
        "bind": bind(host, request, env),
        "port": parameters.port,
        "metrics_port": metrics or 0,
    }
    each = [(engine.role, _fields(engine, here=host.ssh is None)) for engine in engines]
    additions = request.hosts.roles.router if request.hosts else ProgramAdditions()
    return RolePlan(
        name="router",
        role="router",
        platform="router",
        runs_on="router",
        host=host,
        env=with_peers_exempt(additions.env, request),
        argv=[*(word for entry in kind.argv for word in _words(entry, fields, each)), *additions.args],
        ports=Ports(api=parameters.port, metrics=metrics),
        container=router_container(variant, request, env),
        health_path=kind.health_path,
    )


def _fields(engine: RolePlan, *, here: bool) -> dict[str, str | int]:
    """How a router reaches an engine: one on this machine as this machine does."""
    host = engine.host
    return {
        f"{engine.role}_url": engine.url if here else engine.peer_url,
        f"{engine.role}_host": (host.management if here else None) or host.address,
        f"{engine.role}_port": engine.ports.api,
    }


def _words(entry: str | list[str], fields: _Fields, each: Sequence[tuple[str, _Fields]]) -> list[str]:
    """A word filled in; a list of words once for every engine of the role whose fields it names."""
    if isinstance(entry, str):
        return [fill(entry, fields, _WHERE)]
    role = "prefill" if "{prefill_" in " ".join(entry) else "decode"
    return [word for name, own in each if name == role for word in fill_all(entry, own, _WHERE)]
