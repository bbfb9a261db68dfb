"""Showing findings: what failed first, then warnings, with the fix below each; and the same for programs."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from heteropd.findings import ORDER, Finding, Status, counted

_STYLES: dict[Status, str] = {"FAIL": "bold red", "WARN": "yellow", "SKIP": "dim", "PASS": "green"}


def show_findings(
    findings: Sequence[Finding],
    console: Console,
    *,
    everything: bool = False,
    passed: bool = True,
    how: str = "",
) -> None:
    """Print findings, worst first; within a status they keep their order.

    SKIPs are counted in one line unless ``everything``; ``how`` is the command or option that lists them.
    ``passed=False`` leaves PASS out. A caller's own last line may use `summary`.
    """
    left_out = set() if everything else {"SKIP"} if passed else {"SKIP", "PASS"}
    rows = [finding for finding in findings if finding.status not in left_out]
    rows.sort(key=lambda finding: ORDER.index(finding.status))
    if rows:
        console.print(_table(rows))
    skipped = sum(finding.status == "SKIP" for finding in findings)
    if skipped and not everything:
        console.print(Text(f"{skipped} not looked at{f': {how} lists them' if how else ''}", style="dim"))


def summary(findings: Sequence[Finding]) -> str:
    """How many there are of each status, worst first: ``2 FAIL, 1 WARN, 30 PASS``."""
    counts = counted(list(findings))
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing was checked"


def for_programs(finding: Finding) -> dict[str, Any]:
    """A finding in JSON's terms. ``mend`` is the former name of ``fix`` and has the same value."""
    return {
        "check": finding.id,
        "place": finding.place,
        "status": finding.status,
        "text": finding.text,
        "fix": finding.fix,
        "mend": finding.fix,
        "threads": list(finding.threads),
        "evidence": finding.model_dump(mode="json")["evidence"],
    }


def _table(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.status, style=_STYLES[finding.status]), _lines(finding))
    return table


def _lines(finding: Finding) -> Group:
    head = Text(f"{finding.id} ({finding.place}): " if finding.place else f"{finding.id}: ", style="bold")
    lines = [head.append(Text(finding.text, style="dim" if finding.status == "SKIP" else "not bold"))]
    if finding.fix:
        lines.append(Text(f"fix: {finding.fix}"))
    if finding.threads:
        lines.append(Text(f"known from {', '.join(finding.threads)}", style="dim"))
    return Group(*lines)
