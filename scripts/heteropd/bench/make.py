"""Runs `make` as a user would, in a checkout, with a state folder of its own; and when it reaches what, seen
from outside: by what appears on disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heteropd.bench.children import Child, Children
from heteropd.errors import KitError
from heteropd.processes.identity import alive
from heteropd.processes.launcher import exit_status
from heteropd.processes.record import recorded

Reached = Callable[[], bool]

_LOOK_S = 0.05
# `make bench` passes its own words on to every make below it.
_OURS = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL")


@dataclass(frozen=True)
class Make:
    """``state_dir`` keeps what is measured apart from a topology that a user brings up."""

    checkout: Path
    state_dir: Path
    children: Children
    env: Mapping[str, str] = field(default_factory=dict)

    def run(
        self, words: Sequence[str], milestones: Mapping[str, Reached], limit_s: float
    ) -> dict[str, float]:
        """Run to the end; seconds until each milestone was first seen, and ``exit`` when the command ended.

        Raises KitError when the command fails, skips a milestone or takes longer than ``limit_s``.
        """
        unset = [word for name in _OURS for word in ("-u", name)]
        argv = ["env", *unset, "make", "--no-print-directory", "-C", str(self.checkout), *words]
        env = {**self.env, "HETEROPD_STATE_DIR": str(self.state_dir)}
        clock = self.children.clock
        began = clock.now()
        child = self.children.start(f"make-{words[0]}", argv, env)
        seen: dict[str, float] = {}
        while alive(child.process):
            _look(milestones, seen, clock.now() - began)
            if clock.now() - began > limit_s:
                raise KitError(f"bench: {child.name} takes longer than {limit_s:g} s; see {child.log}")
            clock.sleep(_LOOK_S)
        seen["exit"] = clock.now() - began
        self._require_success(child)
        _look(milestones, seen, seen["exit"])
        missing = [name for name in milestones if name not in seen]
        if missing:
            raise KitError(f"bench: {child.name} ended well but never reached: {', '.join(missing)}")
        return seen

    def _require_success(self, child: Child) -> None:
        code = exit_status(child.process)
        self.children.forget(child)
        if code != 0:
            end = f"exit status {code}: {child.last_line()} (all of it: {child.log})"
            raise KitError(f"bench: {child.name} ended with {end}")


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


def phases(seen: Mapping[str, float]) -> dict[str, float]:
    """How the time splits: each milestone's seconds since the one before it, in order of time."""
    ordered = sorted(seen.items(), key=lambda milestone: milestone[1])
    starts = [0.0, *(at for _, at in ordered)]
    return {name: at - start for (name, at), start in zip(ordered, starts, strict=False)}


def healthy_after(state_dir: Path) -> dict[str, Any]:
    """Seconds from each role's start until it was healthy, as the kit recorded them."""
    roles = recorded(state_dir).get("roles")
    return {role["name"]: role.get("healthy_after_s") for role in roles} if isinstance(roles, list) else {}


def _look(milestones: Mapping[str, Reached], seen: dict[str, float], now: float) -> None:
    for name, reached in milestones.items():
        if name not in seen and reached():
            seen[name] = now
