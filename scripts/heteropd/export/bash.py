"""A plan as one bash script: ``bash plan.sh prefill-0`` is the source document's launch script."""

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
    for match in _VARIABLE.finditer(word):
        parts += [_escape(word[end : match.start()]), match[0]]
        end = match.end()
    return '"' + "".join([*parts, _escape(word[end:])]) + '"'


def commands(role: RolePlan) -> str:
    """The role's exports and its command, which takes the place of the shell."""
    lines = [f"export {name}={quote(value)}" for name, value in role.env.items()]
    return "\n".join([*lines, "exec " + " \\\n  ".join(_lines(role.argv))])


def comments(plan: Plan) -> list[str]:
    """The plan's notes, each a line of comment in a shell or in YAML."""
    return [f"# NOTE {note.rule}: {note.text}" if note.rule else f"# NOTE {note.text}" for note in plan.notes]


def bash(plan: Plan) -> str:
    """One script for the whole plan; its argument says which role to become."""
    names = "|".join(role.name for role in plan.roles)
    lines = [
        "#!/usr/bin/env bash",
        f"# {plan.case}, {plan.pins} ({plan.variant}), {plan.model}. On each host: bash SCRIPT {names}",
    ]
    lines += comments(plan)
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
    return _SPECIAL.sub(lambda match: "\\" + match[0], text)


def _lines(argv: list[str]) -> list[str]:
    """The words of a command, each option with its values on a line of its own."""
    lines: list[list[str]] = [[]]
    for word in argv:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(quote(word))
    return [" ".join(line) for line in lines]
