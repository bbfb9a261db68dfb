"""A plan as text: a table to read, JSON to process, a bash script to run by hand, a compose file."""

from __future__ import annotations

from heteropd.errors import BadInput
from heteropd.plan.formats.compose import compose
from heteropd.plan.formats.shell import bash
from heteropd.plan.formats.table import table
from heteropd.plan.model import Plan
from heteropd.spec.problems import did_you_mean

__all__ = ["FORMATS", "bash", "compose", "render", "table", "to_json"]


def to_json(plan: Plan) -> str:
    """The plan's own form: `Plan.model_validate_json` reads it back."""
    return plan.model_dump_json(indent=2) + "\n"


FORMATS = {"table": table, "json": to_json, "bash": bash, "compose": compose}


def render(plan: Plan, form: str = "table") -> str:
    """The plan in one of `FORMATS`. Raises BadInput for another word, and for what a form cannot say."""
    if form not in FORMATS:
        raise BadInput("command line", "format", form, "no such format", did_you_mean(form, FORMATS))
    return FORMATS[form](plan)
