"""The part of docs/troubleshooting.md that is made from env/checks.yaml."""

from heteropd.config.checks import CheckEntry, Checks, Failure, Tier, tier
from heteropd.console.sections import Section

SECTION = Section("docs/troubleshooting.md", "env/checks.yaml by `make schema`")
_FAILURES = """\
## Known failures, and what catches them

{caught} of {all} are caught: by rules of a plan (P…, [rules](rules.md)), tests of images and hosts
(`make infra`), checks of the doctor (T…, above) and of `make validate` ([proof](proof.md)).

| # | failure | caught by |
|---|---|---|
"""
_HEADINGS: dict[Tier, str] = {
    "node": "On a host (T2)",
    "pair": "Between two hosts (T3)",
    "topology": "In a running topology (T4)",
}


def render(checks: Checks) -> str:
    """Every check, by tier."""
    parts = []
    for kind, heading in _HEADINGS.items():
        entries = [_entry(name, entry) for name, entry in checks.checks.items() if tier(name) == kind]
        parts.append(f"### {heading}\n\n" + "".join(entries))
    return "\n" + "".join([*parts, _failures(checks)])


def _failures(checks: Checks) -> str:
    failures = sorted(checks.failures.items())
    rows = [f"| {number} | {failure.title} | {_caught(failure)} |\n" for number, failure in failures]
    return _FAILURES.format(caught=checks.covered, all=len(rows)) + "".join(rows) + "\n"


def _caught(failure: Failure) -> str:
    names = [f"`{name.rpartition('::')[2]}`" if "::" in name else name for name in failure.caught_by]
    return ", ".join(names) or f"not covered: {failure.not_covered}"


def _entry(name: str, entry: CheckEntry) -> str:
    known = f" Known from {', '.join(entry.threads)}." if entry.threads else ""
    where = "hosts that use RDMA" if entry.verbs else ", ".join(entry.platforms)
    fix = entry.fix + (f". Of a container: {entry.fix_container}" if entry.fix_container else "")
    return f"**{name}** ({where}): {entry.title}.\n*Why:* {entry.why}{known}\n*Fix:* {fix}.\n\n"
