"""A plan as one bash script: ``bash plan.sh prefill-0`` is the source document's launch script."""

from __future__ import annotations

import re
import shlex

from heteropd.plan.model import Plan, RolePlan

_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_SPECIAL = re.compile(r'[\\"`$]')


def quote(word: str) -> str:
    """The word as bash reads it back, except that ``${NAME}`` expands."""
    if not _VARIABLE.search(word):
        return shlex.quote(word)
    parts, end = [], 0
    for found in _VARIABLE.finditer(word):
        parts += [_escape(word[end : found.start()]), found[0]]
        end = found.end()
    return '"' + "".join([*parts, _escape(word[end:])]) + '"'


def commands(role: RolePlan) -> str:
    """The role's exports and its command, which takes the place of the shell."""
    lines = [f"export {name}={quote(value)}" for name, value in role.env.items()]
    return "\n".join([*lines, "exec " + " \\\n  ".join(_grouped(role.argv))])


def bash(plan: Plan) -> str:
    """One script for the whole plan; its argument says which role to become."""
    names = "|".join(role.name for role in plan.roles)
    lines = [
        "#!/usr/bin/env bash",
        f"# {plan.case}, {plan.pins} ({plan.variant}), {plan.model}. On each host: bash SCRIPT {names}",
    ]
    if plan.standin:
        lines.append("# CPU stand-ins: needs ENGINE_PYTHON, ENGINE_BIN and, for a packaged model, MODEL_DIR.")
    lines.append('case "${1:-}" in')
    for role in plan.roles:
        lines += [f"{role.name})  # {role.runs_on} on {role.host.name} ({role.host.address})"]
        lines += [f"  {line}" for line in commands(role).splitlines()]
        lines += ["  ;;"]
    lines += ["*)", f'  echo "usage: bash $0 {names}" >&2', "  exit 2", "  ;;", "esac"]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _grouped(argv: list[str]) -> list[str]:
    """The words of a command, an option and its value on one line."""
    groups: list[str] = []
    for word in argv:
        starts = word.startswith("-") or not groups
        after_option = groups and groups[-1].startswith("--") and " " not in groups[-1]
        if starts or not after_option:
            groups.append(quote(word))
        else:
            groups[-1] += " " + quote(word)
    head = [word for word in groups if not word.startswith("--")]
    first_option = len(head) if groups[: len(head)] == head else 1
    return [" ".join(groups[:first_option]), *groups[first_option:]]
