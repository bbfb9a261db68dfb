"""The part of docs/troubleshooting.md that is made from env/checks.yaml."""

from __future__ import annotations

from pathlib import Path

from heteropd.errors import BadInput
from heteropd.preflight import catalogue
from heteropd.spec.checks import CheckEntry, Checks, Tier, tier

PAGE = "docs/troubleshooting.md"
_BEGIN = "<!-- made from env/checks.yaml by `nox -s schema`: begin -->\n"
_END = "<!-- made from env/checks.yaml by `nox -s schema`: end -->\n"
_HEADINGS: dict[Tier, str] = {
    "node": "On a host (T2)",
    "pair": "Between two hosts (T3)",
    "topology": "In a running topology (T4)",
}


def export(root: Path) -> None:
    """Write the page anew. Raises BadInput when its markers are gone."""
    page = root / PAGE
    page.write_text(filled(page.read_text(encoding="utf-8"), catalogue.load(root)), encoding="utf-8")


def filled(text: str, checks: Checks) -> str:
    """The page's text with the checks between its markers; what is around them stays."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise BadInput(PAGE, None, None, "lacks the markers of what is made", "restore it from git")
    return before + begin + render(checks) + end + after


def render(checks: Checks) -> str:
    """Every check, by tier."""
    parts = []
    for kind, heading in _HEADINGS.items():
        entries = [_entry(name, one) for name, one in checks.checks.items() if tier(name) == kind]
        parts.append(f"### {heading}\n\n" + "".join(entries))
    return "\n" + "".join(parts)


def _entry(name: str, one: CheckEntry) -> str:
    known = f" Known from {', '.join(one.threads)}." if one.threads else ""
    return (
        f"**{name}** ({', '.join(one.platforms)}): {one.title}.\n"
        f"*Why:* {one.why}{known}\n"
        f"*Mend:* {one.mend}.\n\n"
    )
