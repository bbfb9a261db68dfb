"""Renders the router, which clients talk to."""

from __future__ import annotations

from heteropd.errors import BadInput
from heteropd.plan.containers import router_container
from heteropd.plan.model import HostPlan, Ports, RolePlan
from heteropd.plan.template import fill_all
from heteropd.spec.env import Env
from heteropd.spec.parameters import Request


def render_router(
    engines: list[RolePlan], host: HostPlan, variant: str, request: Request, env: Env
) -> RolePlan:
    """The router of kind ``request.parameters.router`` in front of one prefill and one decode engine."""
    asked = request.parameters
    if asked.router == "toy" and request.standin:
        problem = "the toy proxy is part of the vllm-gaudi tree, which stand-ins do not have"
        raise BadInput(
            request.origins["router"], "router", "toy", problem, "use router=vllm, or give hosts=FILE"
        )
    kind = env.defaults.routers[asked.router]
    prefill, decode = engines
    metrics = asked.metrics_port if kind.metrics else None
    fields: dict[str, str | int] = {
        "bin": "${ENGINE_BIN}/" if request.standin else "",
        "bind": env.defaults.bind["local" if request.hosts is None else "remote"],
        "port": asked.port,
        "metrics_port": metrics or 0,
        "prefill_url": prefill.url,
        "prefill_host": prefill.host.address,
        "prefill_port": prefill.ports.api,
        "decode_url": decode.url,
        "decode_host": decode.host.address,
        "decode_port": decode.ports.api,
    }
    return RolePlan(
        name="router",
        role="router",
        platform="router",
        runs_on="router",
        host=host,
        env={},
        argv=fill_all(kind.argv, fields, "env/defaults.yaml"),
        ports=Ports(api=asked.port, metrics=metrics),
        container=router_container(variant, request, env),
        health_path=kind.health_path,
    )
