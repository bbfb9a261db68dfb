"""Pure rendering: from a request and the environment data to a plan. Nothing is started here."""

from pathlib import Path

from heteropd.config.arguments import PlanArguments
from heteropd.config.env import Env, load
from heteropd.config.machine import Machine
from heteropd.config.request import PlanRequest, resolve
from heteropd.plan.draft import draft
from heteropd.plan.model import Plan
from heteropd.plan.rules import apply

__all__ = ["make", "render"]


def make(requested: PlanArguments, root: Path, machine: Machine) -> Plan:
    """The plan for a case and its parameters.

    Reads ``root/env`` and the files that parameters name. Raises BadInput for a mistake in any of them, and
    for a plan that cannot work.
    """
    env = load(root)
    return render(resolve(requested, env, root), env, machine)


def render(request: PlanRequest, env: Env, machine: Machine) -> Plan:
    """Render the request and apply every rule. Pure. Raises BadInput for a plan that cannot work."""
    return apply(draft(request, env, machine), request, env)
