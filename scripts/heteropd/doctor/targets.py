"""From a plan to hosts: what runs on each, and which of them talk to each other."""

from __future__ import annotations

from pathlib import Path

from heteropd.doctor.model import EngineTarget, HostTarget
from heteropd.plan.model import HostPlan, Plan, RolePlan
from heteropd.plan.pairs import MOST, Names, crossed


def this_machine() -> HostTarget:
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
    if role.container:
        options = ["--rm", "-i", "--pull=never", *role.container.args, "--entrypoint=sh"]
        return EngineTarget(role, ("docker", "run", *options, role.container.image), "python3")
    ours = str(python) if python and python.exists() and not role.host.ssh else None
    return EngineTarget(role, python=role.host.python or ours)


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
    return HostTarget(
        name=host.name,
        ssh=host.ssh,
        engines=tuple(engine(role, python) for role in engines),
        router=next((role for role in roles if role.role == "router"), None),
        model=_folder(plan, host) if engines else "",
        serves=serves,
    )


def _folder(plan: Plan, host: HostPlan) -> str:
    """The folder that must hold the model on a host; empty for a hub id, and what is sent there."""
    source = host.model or plan.model_source
    return source if source.startswith("/") else ""
