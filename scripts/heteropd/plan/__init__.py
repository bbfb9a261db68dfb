"""Pure rendering: from a request and the environment data to a plan. Nothing is started here.

The imports are inside the functions because `heteropd.config` needs `heteropd.plan.model`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heteropd.config.env import Env
    from heteropd.config.machine import Machine
    from heteropd.config.parameters import PlanRequest
    from heteropd.plan.model import Plan

__all__ = ["make", "render"]


def make(words: Iterable[str], root: Path, machine: Machine) -> Plan:
    """The plan for words such as ``case1 prefill_port=8101 hosts=env/hosts/example.yaml``.

    Reads ``root/env`` and the files that the words name. Raises BadInput for a mistake in any of them, and
    for a plan that cannot work.
    """
    from heteropd.config.env import load  # noqa: PLC0415
    from heteropd.config.parameters import resolve  # noqa: PLC0415

    env = load(root)
    return render(resolve(words, env, root), env, machine)


def render(request: PlanRequest, env: Env, machine: Machine) -> Plan:
    """Render the request and apply every rule. Pure. Raises BadInput for a plan that cannot work."""
    from heteropd.plan.draft import draft  # noqa: PLC0415
    from heteropd.plan.rules import apply  # noqa: PLC0415

    return apply(draft(request, env, machine), request, env)
