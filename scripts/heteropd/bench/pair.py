"""The engines of a plan as bare processes, side by side, without the kit around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from heteropd.bench.children import Child, Children, free_ports
from heteropd.config.arguments import PlanArguments
from heteropd.config.machine import probe
from heteropd.config.parameters import PORT_NAMES
from heteropd.engine_api.requests import prefill_request
from heteropd.errors import KitError
from heteropd.plan import make
from heteropd.plan.environment import child_argv
from heteropd.plan.model import Plan, RolePlan

READY_LIMIT_S = 600.0
_LOOK_S = 0.1


def free_port_parameters() -> dict[str, str]:
    """Parameters that put a case on ports that are free now."""
    # The second engine's side channel is the port after the first's; a clash there is refused by name.
    return {name: str(port) for name, port in zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True)}


def port_words() -> list[str]:
    """The same, as words for make."""
    return [f"{name}={port}" for name, port in free_port_parameters().items()]


def plan_on_free_ports(case: str, root: Path) -> Plan:
    """The case's plan for this machine. Raises BadInput."""
    return make(PlanArguments(case, free_port_parameters()), root, probe())


def start(roles: Sequence[RolePlan], children: Children, places: dict[str, str]) -> list[Child]:
    """Start engines at the same time, with the plan's own argument lists and environment."""
    return [children.start(one.name, child_argv(one.argv, places), one.env, places) for one in roles]


def until_healthy(roles: Sequence[RolePlan], children: Children) -> None:
    """Return when every engine answers on its health path. Raises KitError when one dies or is late."""
    clock = children.clock
    waiting, deadline = list(roles), clock.now() + READY_LIMIT_S
    with httpx.Client(trust_env=False, timeout=2) as client:
        while waiting:
            children.check()
            waiting = [one for one in waiting if not _answers(client, one)]
            if waiting and clock.now() > deadline:
                raise KitError(f"bench: {waiting[0].name} is not healthy after {READY_LIMIT_S:g} s")
            clock.sleep(_LOOK_S)


def disaggregated(plan: Plan, prompt: str, max_tokens: int = 1) -> dict[str, Any]:
    """One request as a router would send it: the prefill engine, then the decode engine with its blocks.

    Returns the decode engine's answer. Raises KitError.
    """
    prefill, decode = plan.of("prefill")[0], plan.of("decode")[0]
    request = {"model": plan.model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
    first = _complete(prefill, prefill_request(request))
    if not first.get("kv_transfer_params"):
        raise KitError(f"bench: {prefill.name} kept no KV blocks for the decode engine")
    return _complete(decode, {**request, "kv_transfer_params": first["kv_transfer_params"]})


def _complete(role: RolePlan, request: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = httpx.post(f"{role.url}/v1/completions", json=request, trust_env=False, timeout=120)
        answer.raise_for_status()
    except httpx.HTTPError as problem:
        raise KitError(f"bench: {role.name} answers no completion: {problem}") from None
    found: dict[str, Any] = answer.json()
    return found


def _answers(client: httpx.Client, role: RolePlan) -> bool:
    try:
        return client.get(role.url + role.health_path).is_success
    except httpx.HTTPError:
        return False
