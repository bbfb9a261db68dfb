"""Drills by name: the functions are here, their words in env/drills.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from heteropd.config import yamlfile
from heteropd.config.drills import Drills
from heteropd.drills.session import DrillSession

Drill = Callable[[DrillSession], None]

DRILLS: dict[str, Drill] = {}


def drill(name: str) -> Callable[[Drill], Drill]:
    """Put a function into the table under its name in env/drills.yaml."""

    def keep(perform: Drill) -> Drill:
        assert name not in DRILLS, f"{name} is registered twice"
        DRILLS[name] = perform
        return perform

    return keep


def load(root: Path) -> Drills:
    """Load ``root/env/drills.yaml``. Raises BadInput."""
    return yamlfile.load(Drills, root / "env" / "drills.yaml", root)
