"""What drills showed: a table for people, JSON for programs, and the pages that state and record faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from heteropd.config.drills import DrillEntry, Drills
from heteropd.console.sections import between, within
from heteropd.drills.model import DrillResult

PAGE = "docs/operations.md"
EVIDENCE = "docs/evidence/drills.md"
FILE = "drill.json"
_STYLES = {"held": "green", "broken": "bold red", "skipped": "dim"}
_STATED = "env/drills.yaml by `.venv/bin/nox -s schema`"
_SEEN = "a run by `make drill … write=1`"
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
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    fresh = {_place(one) for one in results if one.status != "skipped"}
    try:
        old = _RESULTS.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        old = []
    kept = [one for one in old if one.status != "skipped" and _place(one) not in fresh]
    everything = [*kept, *results]
    new = file.with_suffix(".new")
    new.write_bytes(_RESULTS.dump_json(everything, indent=2) + b"\n")
    new.replace(file)
    return everything


def to_json(results: Sequence[DrillResult]) -> str:
    """The results for programs."""
    return _RESULTS.dump_json(list(results), indent=2).decode() + "\n"


def show(results: Sequence[DrillResult], console: Console) -> None:
    """Print a line for each drill, and below it every promise that did not hold."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("drill", "promise", "answered", "fixed", ""):
        table.add_column(column, overflow="fold")
    for one in results:
        said = [f"{seen.what}: {seen.says}" for seen in one.broken] or ([one.why] if one.why else [])
        status = Text(one.status, style=_STYLES[one.status])
        table.add_row(one.name, status, _s(one.answered_s), _s(one.fixed_s), Text("; ".join(said)))
    console.print(table)


def export_catalogue(root: Path, drills: Drills) -> None:
    """Write what is stated into `PAGE`. Raises BadInput when its markers are gone."""
    page = root / PAGE
    page.write_text(with_catalogue(page.read_text(encoding="utf-8"), drills), encoding="utf-8")


def with_catalogue(text: str, drills: Drills) -> str:
    """The page's text with every fault between its markers."""
    parts = [_stated(name, one) for name, one in drills.drills.items()]
    return between(text, _STATED, "\n" + "".join(parts), PAGE)


def _stated(name: str, one: DrillEntry) -> str:
    end = f"each answer or error within {one.bound_s:g} s" if one.bound_s else str(one.instead)
    title, end = (text[:1].upper() + text[1:] for text in (one.title, end))
    lines = [
        f"### {name}\n",
        f"{title}.\n",
        f"- **A client sees:** {one.sees}. {end}.",
        f"- **The kit:** {one.kit}.",
        f"- **To recover:** {one.recover}.\n\n",
    ]
    return "\n".join(lines)


def export_results(root: Path, results: Sequence[DrillResult], drills: Drills) -> None:
    """Write what was seen into `EVIDENCE`; rows of a drill and place that were not performed now stay.

    Raises BadInput when its markers are gone.
    """
    page, order = root / EVIDENCE, list(drills.drills)
    text = page.read_text(encoding="utf-8")
    rows = _rows(results, "skipped") | _kept(within(text, _SEEN, EVIDENCE)) | _rows(results, "held", "broken")
    known = sorted((place for place in rows if place[0] in order), key=lambda place: order.index(place[0]))
    body = "\n".join([*_HEAD, *(line for place in known for line in rows[place]), "", ""])
    page.write_text(between(text, _SEEN, body, EVIDENCE), encoding="utf-8")


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
    wanted = [one for one in results if one.status in statuses]
    for name, where, status in dict.fromkeys((one.name, _where(one), one.status) for one in wanted):
        runs = [one for one in wanted if (one.name, _where(one), one.status) == (name, where, status)]
        times = f", {len(runs)} times" if len(runs) > 1 else ""
        word = {"broken": f"**broken**{times}", "held": f"held{times}"}.get(status, status)
        says = runs[-1].why if status == "skipped" else _summary(runs[-1])
        answered = max((one.answered_s for one in runs if one.answered_s is not None), default=None)
        fixed = max((one.fixed_s for one in runs if one.fixed_s is not None), default=None)
        day = max(one.at for one in runs)
        cells = [name, where, word, says, _s(answered), _s(fixed), f"{day:%Y-%m-%d}"]
        rows.setdefault((name, where), []).append(f"| {' | '.join(map(str, cells))} |")
    return rows


def _summary(one: DrillResult) -> str:
    """What was seen, each sentence once; what broke a promise stands out."""
    told = [
        (f"{seen.what}: {shorten(seen.says, _SHOWN, placeholder=' …')}", seen.good)
        for seen in one.seen
        if not seen.good or seen.what not in _ROUTINE
    ]
    said = dict.fromkeys(text if good else f"**{text}**" for text, good in told)
    return "; ".join(said).replace("|", "\\|")


def _where(one: DrillResult) -> str:
    machine = "stand-ins" if one.standin else "hardware"
    return f"{one.case}, {one.runtime}, {machine}" + (f", {one.hosts} hosts" if one.hosts > 1 else "")


def _place(one: DrillResult) -> tuple[str, str]:
    return one.name, _where(one)


def _s(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"
