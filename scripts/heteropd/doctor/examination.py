"""The doctor: reads all hosts side by side, applies the checks, and shows what was found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from heteropd.config.checks import Checks
from heteropd.doctor import exchange, judge, reading, targets
from heteropd.doctor.model import ExaminedHost, ExaminedPair, HostTarget, Result, Running, Status
from heteropd.doctor.reach import Outside
from heteropd.plan.model import Plan
from heteropd.plan.pairs import Names, rounds

_STYLES: dict[Status, str] = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "SKIP": "dim"}
_AT_ONCE = 32


@dataclass(frozen=True)
class DoctorReport:
    """All results, grouped by place in the order in which they were found; ``left_out`` says what was not
    tried for the number of it."""

    results: tuple[Result, ...]
    left_out: str = ""

    @property
    def ok(self) -> bool:
        return all(one.status != "FAIL" for one in self.results)

    @property
    def summary(self) -> str:
        counts = Counter(one.status for one in self.results)
        return ", ".join(f"{counts[name]} {name}" for name in _STYLES)

    def to_json(self) -> str:
        """The report for programs."""
        left_out = {"left_out": self.left_out} if self.left_out else {}
        results = [asdict(one) for one in self.results]
        return json.dumps({"ok": self.ok, "results": results, **left_out}, indent=2)

    def show(self, console: Console, *, wrong_only: bool = False) -> None:
        """Print the report: a table for each place, a fix below what is wrong."""
        shown = [one for one in self.results if one.status in ("WARN", "FAIL") or not wrong_only]
        for place in dict.fromkeys(one.place for one in shown):
            console.print(Text(place, style="bold"))
            console.print(_table([one for one in shown if one.place == place]))
        if self.left_out:
            console.print(Text(self.left_out))
        console.print(Text(f"doctor: {self.summary}"))


def examine(
    hosts: Sequence[HostTarget],
    checks: Checks,
    plan: Plan | None = None,
    running: Running | None = None,
    outside: Outside | None = None,
) -> DoctorReport:
    """Read every host at the same time, then judge hosts, pairs of the plan, and what runs."""
    outside = outside or Outside()
    reach = outside.reach
    with ThreadPoolExecutor(max_workers=min(len(hosts), _AT_ONCE)) as pool:
        found = pool.map(lambda target: reading.node(target, reach(target), checks.limits), hosts)
        nodes = {node.target.name: node for node in found}
    results = [result for one in nodes.values() for result in judge.node(one, checks)]
    tried, known = targets.pairs(plan) if plan else ([], 0)
    results += [result for pair in _exchanged(tried, nodes, outside) for result in judge.pair(pair, checks)]
    if running:
        results += judge.topology(running, checks)
    return DoctorReport(tuple(results), _left_out(tried, known))


def _exchanged(tried: list[Names], nodes: Mapping[str, ExaminedHost], outside: Outside) -> list[ExaminedPair]:
    """What every pair sent to each other, in the order of ``tried``; side by side as far as hosts differ."""

    def between(names: Names) -> ExaminedPair:
        one, other = (nodes[name] for name in names)
        return ExaminedPair(one, other, exchange.between(one, other, outside))

    found: dict[Names, ExaminedPair] = {}
    for together in rounds(tried):
        with ThreadPoolExecutor(max_workers=min(len(together), _AT_ONCE)) as pool:
            found |= zip(together, pool.map(between, together), strict=True)
    return [found[names] for names in tried]


def _left_out(tried: list[Names], known: int) -> str:
    if len(tried) == known:
        return ""
    words = f"{len(tried):,} of {known:,} pairs of hosts were tried, every host in one of them at least"
    return f"{words}; nothing was sent between the other {known - len(tried):,}"


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
    if one.fix:
        lines.append(Text(f"fix: {one.fix}"))
    if one.threads:
        lines.append(Text(f"known from {', '.join(one.threads)}", style="dim"))
    return Group(*lines)
