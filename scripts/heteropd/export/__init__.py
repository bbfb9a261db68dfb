"""A plan as text: a table to read, JSON to process, a bash script to run by hand, compose, Kubernetes."""

from collections.abc import Callable

from heteropd.config.env import Env
from heteropd.errors import BadInput, did_you_mean
from heteropd.export.bash import bash, comments
from heteropd.export.compose import compose
from heteropd.export.k8s import k8s
from heteropd.export.table import table
from heteropd.plan.model import Plan

__all__ = ["FORMATS", "bash", "compose", "k8s", "render", "table", "to_json"]


def to_json(plan: Plan) -> str:
    """The plan's own form: `Plan.model_validate_json` reads it back."""
    return plan.model_dump_json(indent=2) + "\n"


_PLAIN: dict[str, Callable[[Plan], str]] = {
    "table": table,
    "json": to_json,
    "bash": bash,
    "compose": compose,
}
FORMATS = (*_PLAIN, "k8s")


def render(plan: Plan, form: str = "table", env: Env | None = None) -> str:
    """The plan in one of `FORMATS`; ``env`` is the environment data that ``k8s`` needs beside it.

    Raises BadInput for another word, and for what a form cannot say.
    """
    if form not in FORMATS:
        raise BadInput("command line", "format", form, "no such format", did_you_mean(form, FORMATS))
    if form == "k8s":
        assert env is not None, "its caller has it"
        return k8s(plan, env)
    return _PLAIN[form](plan)


def beside(plan: Plan, form: str) -> list[str]:
    """Lines for stderr: notes that a form holds as comments alone, where nobody may look."""
    return [] if form in ("table", "json") else [line.removeprefix("# ") for line in comments(plan)]
