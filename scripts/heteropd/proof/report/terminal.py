"""The verdict on the terminal: what failed and how to fix it, what to try next."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from heteropd.console.findings import show_findings
from heteropd.plan.model import Plan
from heteropd.proof.verdict import Verdict, geometry_seen

_STYLE = {"PASS": "bold green", "FAIL": "bold red", "INCOMPLETE": "bold yellow"}


def show(verdict: Verdict, plan: Plan, console: Console) -> None:
    """Print a summary of a few lines; everything else is in the report."""
    show_findings([check for check in verdict.checks if check.status != "PASS"], console, everything=True)
    if verdict.note:
        console.print(f"[bold yellow]{escape(verdict.note)}[/]", highlight=False)
    if verdict.probes:
        console.print(_figures(verdict), highlight=False)
    seen = geometry_seen(verdict.checks)
    if seen:
        console.print(f"Seen of the engines: {seen}", highlight=False, markup=False)
    first, _, rest = verdict.headline().partition(" ")
    console.print(f"[{_STYLE[verdict.result]}]{first}[/] {escape(rest)} in {verdict.seconds:.0f} s")
    if verdict.passed:
        url = f"{plan.router.url}/v1/completions"
        console.print(f"Try it: {url} (the report ends with the curl)", soft_wrap=True)


def _figures(verdict: Verdict) -> str:
    outcomes = [probe.outcome for probe in verdict.probes]
    tally = [f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes)]
    text = f"{len(verdict.probes)} probes: {', '.join(tally)}"
    distances = [probe.distance for probe in verdict.probes if probe.distance is not None]
    if distances and verdict.floor and verdict.floor.maximum is not None:
        text += (
            f"; largest difference {max(distances):.1e} nats, {verdict.floor.maximum:.1e} between the engines"
        )
    return text
