"""The table of docs/rules.md, made from env/rules.yaml."""

from heteropd.config.env import Env
from heteropd.console.sections import Section

SECTION = Section("docs/rules.md", "env/rules.yaml")


def table(env: Env) -> str:
    """All rules, in the order of their numbers."""
    rows = [("rule", "broken", "what must hold", "known from"), ("---",) * 4]
    rows += [(name, rule.broken, rule.holds, rule.source) for name, rule in sorted(env.rules.items())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
