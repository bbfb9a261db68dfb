"""The verdict on the terminal: what failed and how to fix it; and what to do next."""

from rich.console import Console
from rich.markup import escape

from heteropd.console.findings import show_findings
from heteropd.plan.model import Plan
from heteropd.proof.report.markdown import curl
from heteropd.proof.verdict import Verdict, geometry_seen

_STYLE = {"PASS": "bold green", "FAIL": "bold red", "INCOMPLETE": "bold yellow"}


def show(verdict: Verdict, console: Console) -> None:
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


def show_next(verdict: Verdict, plan: Plan, console: Console) -> None:
    """What to do with a topology that came up: the source document's request, and three commands."""
    role = plan.of("decode")[0].name
    commands = {"make validate": "prove it again", f"make logs role={role} follow=1": "what it says"}
    if verdict.passed:
        console.print(f"Try it:\n{curl(verdict, plan)}", soft_wrap=True, highlight=False, markup=False)
    else:
        commands = {
            "make doctor": "what is wrong, and the fix",
            f"make logs role={role}": "what it said",
        }
    commands["make down"] = "end it"
    width = max(map(len, commands))
    lines = [f"  {command:{width}}  # {text}" for command, text in commands.items()]
    console.print("\n".join(["Next:", *lines]), soft_wrap=True, highlight=False, markup=False)


def _figures(verdict: Verdict) -> str:
    outcomes = [probe.outcome for probe in verdict.probes]
    tally = [f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes)]
    text = f"{len(verdict.probes)} probes: {', '.join(tally)}"
    most, floor = verdict.largest, verdict.floor
    if most is not None and floor and floor.maximum is not None:
        text += f"; largest difference {most:.1e} nats, {floor.maximum:.1e} between the engines"
    return text
