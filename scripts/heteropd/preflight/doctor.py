"""The doctor: reads all hosts side by side, applies the checks, and shows what was found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from heteropd.plan.model import Plan
from heteropd.preflight import exchange, judge, reading, targets
from heteropd.preflight.model import Pair, Result, Running, Status, Target
from heteropd.preflight.reach import Outside
from heteropd.spec.checks import Checks

_STYLES: dict[Status, str] = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "SKIP": "dim"}
_AT_ONCE = 32


@dataclass(frozen=True)
class Report:
    """All results, grouped by place in the order in which they were found."""

    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        return all(one.status != "FAIL" for one in self.results)

    @property
    def summary(self) -> str:
        counts = Counter(one.status for one in self.results)
        return ", ".join(f"{counts[name]} {name}" for name in _STYLES)

    def to_json(self) -> str:
        """The report for programs."""
        return json.dumps({"ok": self.ok, "results": [asdict(one) for one in self.results]}, indent=2)

    def show(self, console: Console) -> None:
        """Print the report: a table for each place, a mend below what is wrong."""
        for place in dict.fromkeys(one.place for one in self.results):
            console.print(Text(place, style="bold"))
            console.print(_table([one for one in self.results if one.place == place]))
        console.print(Text(self.summary))


def examine(
    hosts: Sequence[Target],
    checks: Checks,
    plan: Plan | None = None,
    running: Running | None = None,
    outside: Outside | None = None,
) -> Report:
    """Read every host at the same time, then judge hosts, pairs of the plan, and what runs."""
    outside = outside or Outside()
    reach = outside.reach
    with ThreadPoolExecutor(max_workers=min(len(hosts), _AT_ONCE)) as pool:
        found = pool.map(lambda target: reading.node(target, reach(target), checks.limits), hosts)
        nodes = {node.target.name: node for node in found}
    results = [result for one in nodes.values() for result in judge.node(one, checks)]
    for one, other in targets.pairs(plan) if plan else []:
        seen = exchange.between(nodes[one], nodes[other], outside)
        results += judge.pair(Pair(nodes[one], nodes[other], seen), checks)
    if running:
        results += judge.topology(running, checks)
    return Report(tuple(results))


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in results:
        table.add_row(Text(one.status, style=_STYLES[one.status]), one.check, _words(one))
    return table


def _words(one: Result) -> RenderableType:
    lines = [Text(one.text, style="dim" if one.status == "SKIP" else "")]
    if one.mend:
        lines.append(Text(f"mend: {one.mend}"))
    if one.threads:
        lines.append(Text(f"known from {', '.join(one.threads)}", style="dim"))
    return Group(*lines)
