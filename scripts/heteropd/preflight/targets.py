"""From a plan to hosts: what each must offer, and which of them talk to each other."""

from __future__ import annotations

from pathlib import Path

from heteropd.plan.model import Plan, RolePlan
from heteropd.plan.rules.addresses import SIDE_CHANNEL_HOST
from heteropd.preflight.launch import fabric_env
from heteropd.preflight.model import Engine, Target

NET_DEVICES = "UCX_NET_DEVICES"


def here() -> Target:
    """This machine, with no plan for it."""
    return Target("this machine")


def container(name: str) -> Target:
    """A running container of this machine."""
    return Target(f"container {name}", container=name)


def of_plan(plan: Plan, *, serves: bool, python: Path | None = None) -> list[Target]:
    """One target a host, in the order of roles. ``serves``: a topology of the kit runs on this machine;
    ``python``: the engines' Python of this machine."""
    hosts: dict[str, list[RolePlan]] = {}
    for role in plan.roles:
        hosts.setdefault(role.host.name, []).append(role)
    return [_target(plan, roles, serves, python) for roles in hosts.values()]


def engine(role: RolePlan, python: Path | None = None) -> Engine:
    """An engine of a plan, with where its NIXL is: its image, the Python of the hosts file, or ``python``."""
    host, box = role.host, role.container
    there = host.python or (str(python) if python and python.exists() and not host.ssh else None)
    launch: tuple[str, ...] = ("sh",)
    if box:
        there = "python3"
        launch = ("docker", "run", "--rm", "-i", "--pull=never", *box.args, "--entrypoint=sh", box.image)
    return Engine(
        name=role.name,
        address=role.env.get(SIDE_CHANNEL_HOST, host.address),
        side_channel=role.ports.side_channel,
        env=fabric_env(role.env),
        standin=role.standin,
        launch=launch,
        python=there,
    )


def pairs(plan: Plan) -> list[tuple[str, str]]:
    """Names of hosts whose engines exchange KV, where they are two."""
    found = {
        (prefill.host.name, decode.host.name)
        for prefill in plan.of("prefill")
        for decode in plan.of("decode")
    }
    return sorted(pair for pair in found if pair[0] != pair[1])


def _target(plan: Plan, roles: list[RolePlan], serves: bool, python: Path | None) -> Target:
    host = roles[0].host
    engines = [role for role in roles if role.role != "router"]
    planned = tuple(engine(role, python) for role in engines)
    return Target(
        name=host.name,
        ssh=host.ssh,
        platforms=frozenset(role.runs_on for role in engines or roles),
        announced=tuple(dict.fromkeys(one.address for one in planned)),
        ports={port: f"{role.name} {use}" for role in roles for use, port in role.ports.all().items()},
        devices=_devices(engines),
        model=plan.model_source if engines and plan.model_source.startswith("/") else "",
        engines=planned,
        verbs=any(one.verbs for one in planned),
        docker=plan.runtime == "docker",
        serves=serves and host.ssh is None,
    )


def _devices(engines: list[RolePlan]) -> tuple[str, ...]:
    # "all" is UCX's default; what begins with ^ excludes, and names nothing that must be there.
    names = [name.strip() for one in engines for name in one.env.get(NET_DEVICES, "").split(",")]
    return tuple(dict.fromkeys(name for name in names if name and name != "all" and name[0] != "^"))
