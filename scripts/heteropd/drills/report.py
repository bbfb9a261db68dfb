"""What drills showed: a table for people, JSON for programs, and the pages that state and record faults."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from heteropd.config.drills import DrillEntry, Drills
from heteropd.console.sections import Section
from heteropd.drills.model import DrillResult
from heteropd.system import write_whole

CATALOGUE = Section("docs/operations.md", "env/drills.yaml by `make schema`")
EVIDENCE = Section("docs/evidence/drills.md", "a run by `make drill … write=1`")
FILE = "drill.json"
_STYLES = {"held": "green", "broken": "bold red", "skipped": "dim"}
_RESULTS = TypeAdapter(list[DrillResult])
_SHOWN = 100  # characters of a sentence in the page's table
_HEAD = [
    "",
    "| drill | where | promise | what was seen | answered | fixed | on |",
    "|---|---|---|---|---|---|---|",
]
# Part of every promise: said in the table only where it did not hold.
_ROUTINE = {"fault", "status", "after the restart", "left behind", "what ran", "afterwards"}


def keep(results: Sequence[DrillResult], folder: Path) -> list[DrillResult]:
    """Add results to those of former runs; of each drill, what is new replaces what is old. All of them."""
    file = folder / FILE
    fresh = {_place(result) for result in results if result.status != "skipped"}
    try:
        old = _RESULTS.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        old = []
    kept = [result for result in old if result.status != "skipped" and _place(result) not in fresh]
    everything = [*kept, *results]
    write_whole(file, to_json(everything))
    return everything


def to_json(results: Sequence[DrillResult]) -> str:
    """The results for programs."""
    return _RESULTS.dump_json(list(results), indent=2).decode() + "\n"


def show(results: Sequence[DrillResult], console: Console) -> None:
    """Print a line for each drill, and below it every promise that did not hold."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("drill", "promise", "answered", "fixed", ""):
        table.add_column(column, overflow="fold")
    for result in results:
        told = [f"{seen.id}: {seen.text}" for seen in result.broken] or ([result.why] if result.why else [])
        status = Text(result.status, style=_STYLES[result.status])
        table.add_row(result.name, status, _s(result.answered_s), _s(result.fixed_s), Text("; ".join(told)))
    console.print(table)


def catalogue(drills: Drills) -> str:
    """Every fault, as `CATALOGUE` states it."""
    return "\n" + "".join(_stated(name, entry) for name, entry in drills.drills.items())


def _stated(name: str, entry: DrillEntry) -> str:
    end = f"each answer or error within {entry.bound_s:g} s" if entry.bound_s else str(entry.instead)
    title, end = (text[:1].upper() + text[1:] for text in (entry.title, end))
    lines = [
        f"### {name}\n",
        f"{title}.\n",
        f"- **A client sees:** {entry.sees}. {end}.",
        f"- **The kit:** {entry.kit}.",
        f"- **To recover:** {entry.recover}.\n\n",
    ]
    return "\n".join(lines)


def export_results(root: Path, results: Sequence[DrillResult], drills: Drills) -> None:
    """Write what was seen into `EVIDENCE`; rows of a drill and place that were not performed now stay.

    Raises BadInput when its markers are gone.
    """
    order, former = list(drills.drills), (root / EVIDENCE.page).read_text(encoding="utf-8")
    rows = _rows(results, "skipped") | _kept(EVIDENCE.within(former)) | _rows(results, "held", "broken")
    known = sorted((place for place in rows if place[0] in order), key=lambda place: order.index(place[0]))
    EVIDENCE.write(root, "\n".join([*_HEAD, *(line for place in known for line in rows[place]), "", ""]))


def _kept(text: str) -> dict[tuple[str, str], list[str]]:
    """The rows of a table by drill and place."""
    rows: dict[tuple[str, str], list[str]] = {}
    for line in text.splitlines():
        name, where = ([cell.strip() for cell in line.split("|")[1:3]] + ["", ""])[:2]
        rows.setdefault((name, where), []).append(line)
    return rows


def _rows(results: Sequence[DrillResult], *statuses: str) -> dict[tuple[str, str], list[str]]:
    """A row for each drill, place and status."""
    rows: dict[tuple[str, str], list[str]] = {}
    wanted = [result for result in results if result.status in statuses]
    for name, where, status in dict.fromkeys(
        (result.name, _where(result), result.status) for result in wanted
    ):
        runs = [
            result
            for result in wanted
            if (result.name, _where(result), result.status) == (name, where, status)
        ]
        times = f", {len(runs)} times" if len(runs) > 1 else ""
        word = {"broken": f"**broken**{times}", "held": f"held{times}"}.get(status, status)
        says = runs[-1].why if status == "skipped" else _summary(runs[-1])
        answered = max((run.answered_s for run in runs if run.answered_s is not None), default=None)
        fixed = max((run.fixed_s for run in runs if run.fixed_s is not None), default=None)
        day = max(run.at for run in runs)
        cells = [name, where, word, says, _s(answered), _s(fixed), f"{day:%Y-%m-%d}"]
        rows.setdefault((name, where), []).append(f"| {' | '.join(map(str, cells))} |")
    return rows


def _summary(result: DrillResult) -> str:
    """What was seen, each sentence once; what broke a promise stands out."""
    told = [
        (f"{seen.id}: {shorten(seen.text, _SHOWN, placeholder=' …')}", seen.good)
        for seen in result.seen
        if not seen.good or seen.id not in _ROUTINE
    ]
    texts = dict.fromkeys(text if good else f"**{text}**" for text, good in told)
    return "; ".join(texts).replace("|", "\\|")


def _where(result: DrillResult) -> str:
    machine = "stand-ins" if result.standin else "hardware"
    return f"{result.case}, {result.runtime}, {machine}" + (
        f", {result.hosts} hosts" if result.hosts > 1 else ""
    )


def _place(result: DrillResult) -> tuple[str, str]:
    return result.name, _where(result)


def _s(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"
