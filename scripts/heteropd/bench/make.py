"""Runs `make` as a user would, in a checkout, with a state folder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heteropd.bench.children import Children
from heteropd.bench.milestones import Reached, watch

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
        """Run to the end; seconds at which the milestones were reached, and ``exit``. Raises KitError."""
        unset = [word for name in _OURS for word in ("-u", name)]
        argv = ["env", *unset, "make", "--no-print-directory", "-C", str(self.checkout), *words]
        env = {**self.env, "HETEROPD_STATE_DIR": str(self.state_dir)}
        began = self.children.clock.now()
        child = self.children.start(f"make-{words[0]}", argv, env)
        return watch(child, milestones, began, self.children, limit_s)
