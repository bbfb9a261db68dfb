"""The list of verbs in docs/reference.md, made from the table."""

from __future__ import annotations

from pathlib import Path

from heteropd.cli import table
from heteropd.cli.options import Verb
from heteropd.console import sections

PAGE = "docs/reference.md"
_MADE = "the table of verbs by `make schema`"


def export(root: Path) -> None:
    """Write the page's section anew. Raises BadInput when its markers are gone."""
    page = root / PAGE
    page.write_text(with_verbs(page.read_text(encoding="utf-8")), encoding="utf-8")


def with_verbs(text: str) -> str:
    """The page's text with its section made anew. Pure."""
    return sections.between(text, _MADE, _section(), PAGE)


def _section() -> str:
    lines: list[str] = []
    for title, verbs in table.GROUPS.items():
        lines += ["", f"**{title[0].upper()}{title[1:]}**", "", "| verb | options | what |", "|---|---|---|"]
        lines += [_row(verb) for verb in verbs]
    return "\n".join([*lines, "", ""])


def _row(verb: Verb) -> str:
    name = f"`make {verb.name}`" if verb.session or not verb.function else f"`heteropd {verb.name}`"
    options = [f"`{option.shown}`" for option in verb.options]
    options += ["[parameters](parameters.md)"] if verb.plans else []
    options += ["fields of `env/bench.yaml`"] if verb.more else []
    page = f" ([more]({verb.page.removeprefix('docs/')}))" if verb.page else ""
    return f"| {name} | {', '.join(options)} | {verb.text}{page} |"
