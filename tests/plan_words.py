"""Arguments and plans from words, as the command line reads them: ``case1 port=8080``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from heteropd import plan
from heteropd.cli import parser
from heteropd.cli.table import BY_NAME
from heteropd.config import request
from heteropd.config.arguments import PlanArguments
from heteropd.config.env import Env
from heteropd.config.machine import Machine
from heteropd.config.request import PlanRequest
from heteropd.plan.model import Plan


def arguments(verb: str, *words: str) -> dict[str, Any]:
    """What the verb's function gets. Raises BadInput as the command line does."""
    return parser.parse(BY_NAME[verb], words)


def requested(words: Iterable[str]) -> PlanArguments:
    """A case and its parameters."""
    found: PlanArguments = arguments("plan", *words)["requested"]
    return found


def make(words: Iterable[str], root: Path, machine: Machine) -> Plan:
    """The plan that words ask for."""
    return plan.make(requested(words), root, machine)


def resolve(words: Iterable[str], env: Env, root: Path) -> PlanRequest:
    """The request that words make."""
    return request.resolve(requested(words), env, root)
