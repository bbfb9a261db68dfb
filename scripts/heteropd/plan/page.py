"""The table of docs/rules.md, made from env/rules.yaml."""

from pathlib import Path

from heteropd.config.env import Env
from heteropd.console.sections import between

PAGE = "docs/rules.md"
MADE = "env/rules.yaml"


def table(env: Env) -> str:
    """All rules, in the order of their numbers."""
    rows = [("rule", "broken", "what must hold", "known from"), ("---",) * 4]
    rows += [(name, rule.broken, rule.holds, rule.source) for name, rule in sorted(env.rules.items())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def export(env: Env, root: Path) -> None:
    """Write the table into the page. Raises BadInput where its markers are gone."""
    page = root / PAGE
    page.write_text(between(page.read_text(encoding="utf-8"), MADE, table(env), PAGE), encoding="utf-8")
