"""Checks by id: the functions are here, their words in env/checks.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from heteropd.config import yamlfile
from heteropd.config.checks import Checks
from heteropd.doctor.model import ExaminedHost, ExaminedPair, Outcome, Running

NodeCheck = Callable[[ExaminedHost], Outcome]
PairCheck = Callable[[ExaminedPair], Outcome]
RunningCheck = Callable[[Running], Outcome]
Check = TypeVar("Check")

NODE: dict[str, NodeCheck] = {}
PAIR: dict[str, PairCheck] = {}
TOPOLOGY: dict[str, RunningCheck] = {}


def registered(table: dict[str, Check], name: str) -> Callable[[Check], Check]:
    """Put a function into one of the tables under its id."""

    def keep(check: Check) -> Check:
        assert name not in table, f"{name} is registered twice"
        table[name] = check
        return check

    return keep


def load(root: Path) -> Checks:
    """Load ``root/env/checks.yaml``. Raises BadInput."""
    return yamlfile.load(Checks, root / "env" / "checks.yaml", root)
