"""Pure rendering: from a request and the environment data to a plan. Nothing is started here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from heteropd.config.env import Env, load
from heteropd.config.machine import Machine
from heteropd.config.parameters import PlanRequest, resolve
from heteropd.plan.draft import draft
from heteropd.plan.model import Plan
from heteropd.plan.rules import apply

__all__ = ["make", "render"]


def make(words: Iterable[str], root: Path, machine: Machine) -> Plan:
    """The plan for words such as ``case1 prefill_port=8101 hosts=env/hosts/example.yaml``.

    Reads ``root/env`` and the files that the words name. Raises BadInput for a mistake in any of them, and
    for a plan that cannot work.
    """
    env = load(root)
    return render(resolve(words, env, root), env, machine)


def render(request: PlanRequest, env: Env, machine: Machine) -> Plan:
    """Render the request and apply every rule. Pure. Raises BadInput for a plan that cannot work."""
    return apply(draft(request, env, machine), request, env)
