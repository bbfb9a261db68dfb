"""The list of verbs in docs/reference.md, made from the table."""

from heteropd.cli import table
from heteropd.cli.options import Verb
from heteropd.console.sections import Section

SECTION = Section("docs/reference.md", "the table of verbs by `make schema`")


def render() -> str:
    """Every verb, by group. Pure."""
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
