"""From a plan to hosts: what each must offer, and which of them talk to each other."""

from __future__ import annotations

from pathlib import Path

from heteropd import ucx
from heteropd.doctor.launch import fabric_env
from heteropd.doctor.model import EngineTarget, HostTarget
from heteropd.plan.model import HostPlan, Plan, RolePlan
from heteropd.plan.pairs import MOST, Names, crossed
from heteropd.plan.rules.addresses import SIDE_CHANNEL_HOST


def here() -> HostTarget:
    """This machine, with no plan for it."""
    return HostTarget("this machine")


def container(name: str) -> HostTarget:
    """A running container of this machine."""
    return HostTarget(f"container {name}", container=name)


def of_plan(
    plan: Plan, *, serves: bool, itself: bool = False, python: Path | None = None
) -> list[HostTarget]:
    """One target a host, in the order of roles. ``serves``: a topology of the kit runs on this machine;
    ``itself``: it is this very plan's, so its other hosts serve too; ``python``: the engines', here."""
    hosts: dict[str, list[RolePlan]] = {}
    for role in plan.roles:
        hosts.setdefault(role.host.name, []).append(role)
    return [
        _target(plan, roles, serves and (itself or roles[0].host.ssh is None), python)
        for roles in hosts.values()
    ]


def engine(role: RolePlan, python: Path | None = None) -> EngineTarget:
    """An engine of a plan, with where its NIXL is: its image, the Python of the hosts file, or ``python``."""
    host, box = role.host, role.container
    there = host.python or (str(python) if python and python.exists() and not host.ssh else None)
    launch: tuple[str, ...] = ("sh",)
    if box:
        there = "python3"
        launch = ("docker", "run", "--rm", "-i", "--pull=never", *box.args, "--entrypoint=sh", box.image)
    return EngineTarget(
        name=role.name,
        address=role.env.get(SIDE_CHANNEL_HOST, host.address),
        side_channel=role.ports.side_channel,
        env=fabric_env(role.env),
        standin=role.standin,
        launch=launch,
        python=there,
    )


def pairs(plan: Plan, most: int = MOST) -> tuple[list[Names], int]:
    """Names of hosts whose engines exchange KV, where they are two, at most about ``most`` of them;
    and how many such pairs there are."""
    prefills, decodes = (
        list(dict.fromkeys(role.host.name for role in plan.of(side))) for side in ("prefill", "decode")
    )
    both = len(set(prefills) & set(decodes))
    return crossed(prefills, decodes, most), len(prefills) * len(decodes) - both


def _target(plan: Plan, roles: list[RolePlan], serves: bool, python: Path | None) -> HostTarget:
    host = roles[0].host
    engines = [role for role in roles if role.role != "router"]
    planned = tuple(engine(role, python) for role in engines)
    return HostTarget(
        name=host.name,
        ssh=host.ssh,
        platforms=frozenset(role.runs_on for role in engines or roles),
        announced=tuple(dict.fromkeys(one.address for one in planned)),
        ports={port: f"{role.name} {use}" for role in roles for use, port in role.ports.all().items()},
        devices=_devices(engines),
        model=_folder(plan, host) if engines else "",
        engines=planned,
        verbs=any(one.verbs for one in planned),
        docker=plan.runtime == "docker",
        serves=serves,
    )


def _folder(plan: Plan, host: HostPlan) -> str:
    """The folder that must hold the model on a host; empty for a hub id, and what is sent there."""
    found = host.model or plan.model_source
    return found if found.startswith("/") else ""


def _devices(engines: list[RolePlan]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for engine in engines for name in ucx.net_devices(engine.env)))
