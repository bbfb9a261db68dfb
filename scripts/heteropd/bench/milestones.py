"""When a bring-up reaches what, seen from outside: by what appears on disk while `make` runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from heteropd.bench.children import Child, Children
from heteropd.errors import KitError
from heteropd.processes.identity import alive
from heteropd.processes.launcher import exit_status
from heteropd.processes.record import recorded

Reached = Callable[[], bool]

LOOK_S = 0.05


def of_bring_up(state_dir: Path) -> dict[str, Reached]:
    """Started: the kit is about to start engines. Ready: a completion came through the router."""
    return {
        "started": lambda: recorded(state_dir).get("phase") in ("starting", "up"),
        "ready": lambda: recorded(state_dir).get("phase") == "up",
    }


def of_set_up(clone: Path, model: Path) -> dict[str, Reached]:
    """What a clean clone makes before its first start, in this order."""
    return {
        ".venv": (clone / ".venv/bin/nox").exists,
        "kit environment": (clone / ".nox/kit/.heteropd-stamp").exists,
        "engine environment": (clone / ".nox/engine-cpu/.heteropd-stamp").exists,
        "model": (model / "config.json").exists,
    }


def watch(
    child: Child,
    milestones: Mapping[str, Reached],
    began: float,
    children: Children,
    limit_s: float,
) -> dict[str, float]:
    """Seconds since ``began`` at which each milestone was first seen, and ``exit`` when the command ended.

    Raises KitError when the command fails, skips a milestone or takes longer than ``limit_s``.
    """
    clock = children.clock
    seen: dict[str, float] = {}
    while alive(child.process):
        _look(milestones, seen, clock.now() - began)
        if clock.now() - began > limit_s:
            raise KitError(f"bench: {child.name} takes longer than {limit_s:g} s; see {child.log}")
        clock.sleep(LOOK_S)
    seen["exit"] = clock.now() - began
    code = exit_status(child.process)
    children.forget(child)
    if code != 0:
        said = f"exit status {code}: {child.last_line()} (all of it: {child.log})"
        raise KitError(f"bench: {child.name} ended with {said}")
    _look(milestones, seen, seen["exit"])
    missing = [name for name in milestones if name not in seen]
    if missing:
        raise KitError(f"bench: {child.name} ended well but never reached: {', '.join(missing)}")
    return seen


def phases(seen: Mapping[str, float]) -> dict[str, float]:
    """How the time splits: each milestone's seconds since the one before it, in order of time."""
    ordered = sorted(seen.items(), key=lambda one: one[1])
    starts = [0.0, *(at for _, at in ordered)]
    return {name: at - start for (name, at), start in zip(ordered, starts, strict=False)}


def roles(state_dir: Path) -> dict[str, Any]:
    """Seconds from a role's start until it was healthy, as the kit recorded them."""
    found = recorded(state_dir).get("roles")
    return {one["name"]: one.get("healthy_after_s") for one in found} if isinstance(found, list) else {}


def _look(milestones: Mapping[str, Reached], seen: dict[str, float], now: float) -> None:
    for name, reached in milestones.items():
        if name not in seen and reached():
            seen[name] = now
