"""From a plan to hosts: what runs on each, and which of them talk to each other."""

import re
from dataclasses import replace
from pathlib import Path

from heteropd.config.env import Env
from heteropd.doctor.model import EngineTarget, HostTarget, Requirements
from heteropd.plan.model import Plan, RolePlan
from heteropd.plan.pairs import MOST, Names, crossed

# nvidia/cuda:12.8.1-…, vault.habana.ai/gaudi-docker/1.22.2/…
_BASE = re.compile(r"(?:nvidia/cuda:|gaudi-docker/)(\d+\.\d+)")


def this_machine() -> HostTarget:
    """This machine, with no plan for it."""
    return HostTarget("this machine")


def container(name: str) -> HostTarget:
    """A running container of this machine."""
    return HostTarget(f"container {name}", container=name)


def of_plan(
    plan: Plan, env: Env, *, serves: bool, itself: bool = False, python: Path | None = None
) -> list[HostTarget]:
    """One target a host, in the order of roles. ``serves``: a topology of the kit runs on this machine;
    ``itself``: it is this very plan's, so its other hosts serve too; ``python``: the engines', here."""
    needs = Requirements(env.images.engine.docker, _software(plan, env))
    hosts: dict[str, list[RolePlan]] = {}
    for role in plan.roles:
        hosts.setdefault(role.host.name, []).append(role)
    found = [_target(plan, roles, python) for roles in hosts.values()]
    return [replace(host, serves=serves and (itself or not host.ssh), needs=needs) for host in found]


def engine(role: RolePlan, python: Path | None = None) -> EngineTarget:
    """An engine of a plan, with where its NIXL is: its image, the Python of the hosts file, or ``python``."""
    if role.container:
        options = ["--rm", "-i", "--pull=never", *role.container.args, "--entrypoint=sh"]
        docker = ["docker", *(["-H", f"unix://{role.host.docker}"] if role.host.docker else [])]
        return EngineTarget(role, (*docker, "run", *options, role.container.image), "python3")
    ours = str(python) if python and python.exists() and not role.host.ssh else None
    return EngineTarget(role, python=role.host.python or ours)


def pairs(plan: Plan, most: int = MOST) -> tuple[list[Names], int]:
    """Names of hosts whose engines exchange KV, where they are two, at most about ``most`` of them;
    and how many such pairs there are."""
    sides = plan.of("prefill"), plan.of("decode")
    prefills, decodes = (list(dict.fromkeys(role.host.name for role in side)) for side in sides)
    both = len(set(prefills) & set(decodes))
    return crossed(prefills, decodes, most), len(prefills) * len(decodes) - both


def _target(plan: Plan, roles: list[RolePlan], python: Path | None) -> HostTarget:
    host = roles[0].host
    engines, source = [role for role in roles if role.role != "router"], host.model or plan.model_source
    return HostTarget(
        name=host.name,
        ssh=host.ssh,
        engines=tuple(engine(role, python) for role in engines),
        router=next((role for role in roles if role.role == "router"), None),
        # A folder only: a hub id, and what is sent there, need not be on the host.
        model=source if engines and source.startswith("/") else "",
    )


def _software(plan: Plan, env: Env) -> dict[str, str]:
    """CUDA's and Gaudi's version in the images of the plan's pin set, as the names of their bases say it."""
    pins = env.pins.get(plan.pins)
    refs = {platform: image.ref for platform, image in pins.images.items()} if pins else {}
    matches = {platform: _BASE.search(ref) for platform, ref in refs.items()}
    return {platform: match[1] for platform, match in matches.items() if match}
