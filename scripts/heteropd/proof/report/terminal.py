"""The verdict on the terminal: what failed and how to fix it, where the report is, what to try next."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape

from heteropd.console.findings import show_findings
from heteropd.plan.model import Plan
from heteropd.proof.verdict import Verdict

_STYLE = {"PASS": "bold green", "FAIL": "bold red", "INCOMPLETE": "bold yellow", "SKIP": "yellow"}


class Paths(NamedTuple):
    """The files of one report."""

    json: Path
    markdown: Path


def show(verdict: Verdict, plan: Plan, paths: Paths, console: Console) -> None:
    """Print a summary of a few lines; everything else is in the report."""
    bad = [check for check in verdict.checks if check.status != "PASS"]
    show_findings(bad, console, everything=True)
    if verdict.note:
        console.print(f"[bold yellow]{escape(verdict.note)}[/]", highlight=False)
    if verdict.probes:
        console.print(_figures(verdict), highlight=False)
    first, _, rest = verdict.headline().partition(" ")
    console.print(f"[{_STYLE[verdict.result]}]{first}[/] {escape(rest)} in {verdict.seconds:.0f} s")
    console.print(f"Report: {paths.markdown}", soft_wrap=True, highlight=False)
    if verdict.passed:
        console.print(
            f"Try it: {plan.router.url}/v1/completions (the report ends with the curl)", soft_wrap=True
        )


def _figures(verdict: Verdict) -> str:
    tally = [f"{count} {name}" for name, count in _outcomes(verdict).items()]
    text = f"{len(verdict.probes)} probes: {', '.join(tally)}"
    distances = [probe.distance for probe in verdict.probes if probe.distance is not None]
    if distances and verdict.floor and verdict.floor.maximum is not None:
        text += (
            f"; largest difference {max(distances):.1e} nats, {verdict.floor.maximum:.1e} between the engines"
        )
    return text


def _outcomes(verdict: Verdict) -> dict[str, int]:
    names = [probe.outcome for probe in verdict.probes]
    return {name: names.count(name) for name in dict.fromkeys(names)}
