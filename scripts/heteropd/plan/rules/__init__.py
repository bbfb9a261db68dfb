"""Rules that a plan must keep. A broken ``refuse`` rule stops it (exit 2); a ``warn`` rule leaves a note.

Numbers up to 39 follow the kit's catalogue of known failures; docs/rules.md explains every rule.
"""

from __future__ import annotations

from heteropd.config.env import Env
from heteropd.config.parameters import PlanRequest
from heteropd.errors import BadInput
from heteropd.plan.model import Note, Plan
from heteropd.plan.rules import addresses, blocks, connector, devices, hostsfile, pinned, transports
from heteropd.plan.rules.base import Finding, Rule, RuleContext

__all__ = ["RULES", "Context", "Finding", "Rule", "apply"]

RULES: tuple[Rule, ...] = tuple(
    sorted(
        [
            *transports.RULES,
            *addresses.RULES,
            *blocks.RULES,
            *connector.RULES,
            *devices.RULES,
            *pinned.RULES,
            *hostsfile.RULES,
        ],
        key=lambda rule: rule.id,
    )
)


def apply(plan: Plan, request: PlanRequest, env: Env) -> Plan:
    """The plan with a note for every warning. Raises BadInput, naming the rule, for the first refusal."""
    context = RuleContext(plan, request, env)
    notes = list(plan.notes)
    for rule in RULES:
        found = rule.check(context)
        if found is None:
            continue
        if rule.severity == "refuse":
            raise BadInput(found.where, found.field, found.value, f"{rule.id}: {found.problem}", found.fix)
        text = f"{found.where}: {found.field}: {found.value}: {found.problem}; {found.fix}"
        notes.append(Note(rule=rule.id, text=" ".join(text.split())))
    return plan.model_copy(update={"notes": notes})
