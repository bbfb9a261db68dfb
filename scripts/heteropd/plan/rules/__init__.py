"""Rules that a plan must keep: env/rules.yaml has their words, docs/rules.md explains them."""

from heteropd.config.env import Env
from heteropd.config.request import PlanRequest
from heteropd.errors import BadInput
from heteropd.findings import Finding
from heteropd.plan.model import Note, Plan
from heteropd.plan.rules import (  # noqa: F401 - a module's rules are known once it is imported
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
from heteropd.plan.rules.base import CHECKS, RuleContext

__all__ = ["CHECKS", "apply", "examine"]

# First what no other message may show, then what the others need to read an engine's arguments.
_FIRST = ("P56-secrets", "P51-arguments")


def examine(plan: Plan, request: PlanRequest, env: Env) -> list[Finding]:
    """What breaks a rule, one finding a rule, up to the first that is refused."""
    if wrong := sorted(CHECKS.keys() ^ env.rules.keys()):
        problem = "missing" if wrong[0] in CHECKS else "no rule of the planner"
        fix = "its rules are the planner's: restore it"
        raise BadInput("env/rules.yaml", f"rules.{wrong[0]}", None, problem, fix)
    context = RuleContext(plan, request, env)
    findings: list[Finding] = []
    for name in dict.fromkeys([*_FIRST, *sorted(CHECKS)]):
        finding = CHECKS[name](context)
        if finding is not None:
            entry = env.rules[name]
            status = "FAIL" if entry.broken == "refused" else "WARN"
            update = {"id": name, "status": status, "threads": (entry.source,)}
            findings.append(finding.model_copy(update=update))
            if status == "FAIL":
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
