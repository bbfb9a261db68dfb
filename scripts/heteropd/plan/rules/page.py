"""The table of docs/rules.md, made from the rules."""

from __future__ import annotations

from pathlib import Path

from heteropd.console.sections import between
from heteropd.plan.rules import RULES

PAGE = "docs/rules.md"
MADE = "scripts/heteropd/plan/rules"


def table() -> str:
    """All rules, by their ids."""
    words = {"refuse": "refused", "warn": "warned"}
    cells = [(rule.id, words[rule.severity], rule.title, rule.reference) for rule in RULES]
    rows = [("rule", "broken", "what must hold", "known from"), ("---",) * 4, *sorted(cells)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def export(root: Path) -> None:
    """Write the table into the page. Raises BadInput where its markers are gone."""
    page = root / PAGE
    page.write_text(between(page.read_text(encoding="utf-8"), MADE, table(), PAGE), encoding="utf-8")
