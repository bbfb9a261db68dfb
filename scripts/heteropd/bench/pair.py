"""The engines of a plan as bare processes, side by side, without the kit around them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from heteropd.bench.children import Child, Children, free_ports
from heteropd.config.arguments import PlanArguments
from heteropd.config.machine import probe
from heteropd.config.parameters import PORT_NAMES
from heteropd.engine_api.client import COMPLETIONS, AnswerProblem, Endpoint, EngineClient
from heteropd.engine_api.requests import HANDOVER, Json, prefill_request
from heteropd.errors import KitError
from heteropd.plan import make
from heteropd.plan.environment import child_argv
from heteropd.plan.model import Plan, RolePlan

_READY_LIMIT_S, _ANSWER_LIMIT_S, _HEALTH_LIMIT_S, _LOOK_S = 600.0, 120.0, 2.0, 0.1
_WAY_LIMIT_S, _WAY_ANSWER_S = 60.0, 5.0


def free_port_parameters() -> dict[str, str]:
    """Parameters that put a case on ports that are free now."""
    # The second engine's side channel is the port after the first's; a clash there is refused by name.
    return {name: str(port) for name, port in zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True)}


def plan_on_free_ports(case: str, root: Path, given: Mapping[str, str] = MappingProxyType({})) -> Plan:
    """The case's plan for this machine, with what is given. Raises BadInput."""
    return make(PlanArguments(case, free_port_parameters() | dict(given)), root, probe())


def start(roles: Sequence[RolePlan], children: Children, places: dict[str, str]) -> list[Child]:
    """Start engines at the same time, with the plan's own argument lists and environment."""
    return [children.start(role.name, child_argv(role.argv, places), role.env, places) for role in roles]


def until_healthy(roles: Sequence[RolePlan], children: Children) -> None:
    """Return when every engine answers on its health path. Raises KitError when one dies or is late."""
    clock = children.clock
    waiting, deadline = list(roles), clock.now() + _READY_LIMIT_S
    with EngineClient() as client:
        while waiting:
            children.check()
            waiting = [role for role in waiting if not _healthy(client, role)]
            if waiting and clock.now() > deadline:
                raise KitError(f"bench: {waiting[0].name} is not healthy after {_READY_LIMIT_S:g} s")
            clock.sleep(_LOOK_S)


def until_answering(url: str, request: Json, children: Children) -> None:
    """Return when a completion comes from there. Raises KitError when a child dies or it takes too long."""
    clock = children.clock
    deadline, last = clock.now() + _WAY_LIMIT_S, "nothing"
    with EngineClient() as client:
        while clock.now() < deadline:
            children.check()
            response = client.request("POST", url + COMPLETIONS, request, limit_s=_WAY_ANSWER_S)
            if response.ok:
                return
            last = response.short
            clock.sleep(0.1)
    raise KitError(f"bench: no completion from {url} within {_WAY_LIMIT_S:g} s; last: {last}")


def disaggregated(plan: Plan, prompt: str | list[int], max_tokens: int = 1) -> Json:
    """One request as a router would send it: the prefill engine, then the decode engine with its blocks.

    Returns the decode engine's answer. Raises KitError.
    """
    prefill, decode = plan.of("prefill")[0], plan.of("decode")[0]
    request = {"model": plan.model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
    first = _complete(prefill, prefill_request(request))
    if not first.get(HANDOVER):
        raise KitError(f"bench: {prefill.name} kept no KV blocks for the decode engine")
    return _complete(decode, {**request, HANDOVER: first[HANDOVER]})


def _complete(role: RolePlan, request: Json) -> Json:
    with EngineClient() as client:
        try:
            return Endpoint(client, role.name, role.url, _ANSWER_LIMIT_S).post(COMPLETIONS, request)
        except AnswerProblem as problem:
            raise KitError(f"bench: {problem}") from None


def _healthy(client: EngineClient, role: RolePlan) -> bool:
    return client.request("GET", role.url + role.health_path, limit_s=_HEALTH_LIMIT_S).ok
