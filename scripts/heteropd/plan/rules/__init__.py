"""Rules that a plan must keep. A broken ``refuse`` rule stops it (exit 2); a ``warn`` rule leaves a note.

Numbers up to 39 follow the kit's catalogue of known failures; docs/rules.md explains every rule.
"""

from __future__ import annotations

from heteropd.config.env import Env
from heteropd.config.parameters import PlanRequest
from heteropd.errors import BadInput
from heteropd.findings import Finding
from heteropd.plan.model import Note, Plan
from heteropd.plan.rules import (
    addresses,
    blocks,
    connector,
    devices,
    differences,
    options,
    pinned,
    secrets,
    transports,
)
from heteropd.plan.rules.base import Rule, RuleContext

__all__ = ["RULES", "Rule", "RuleContext", "apply", "examine"]

_BY_ID = sorted(
    [
        rule
        for room in (transports, addresses, blocks, connector, devices, differences, options, pinned)
        for rule in room.RULES
    ],
    key=lambda rule: rule.id,
)
# First what no other rule may print; then what the others need to read an engine's arguments.
RULES: tuple[Rule, ...] = (*secrets.RULES, options.READABLE, *_BY_ID)


def examine(plan: Plan, request: PlanRequest, env: Env) -> list[Finding]:
    """What breaks a rule, one finding a rule, up to the first that is refused."""
    context = RuleContext(plan, request, env)
    findings: list[Finding] = []
    for rule in RULES:
        finding = rule.examine(context)
        if finding is not None:
            findings.append(finding)
            if finding.status == "FAIL":
                break
    return findings


def apply(plan: Plan, request: PlanRequest, env: Env) -> Plan:
    """The plan with a note for every warning. Raises BadInput, naming the rule, for the first refusal."""
    notes = list(plan.notes)
    for finding in examine(plan, request, env):
        field, value = str(finding.evidence["field"]), finding.evidence["value"]
        if finding.status == "FAIL":
            raise BadInput(finding.place, field, value, f"{finding.id}: {finding.text}", finding.fix or "")
        text = f"{finding.place}: {field}: {value}: {finding.text}; {finding.fix}"
        notes.append(Note(rule=finding.id, text=" ".join(text.split())))
    return plan.model_copy(update={"notes": notes})
