"""What drills showed: a table for people, JSON for programs, and their parts of docs/operations.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from heteropd.drill.model import Result
from heteropd.preflight.pages import between
from heteropd.spec.drills import DrillEntry, Drills

PAGE = "docs/operations.md"
FILE = "drill.json"
_STYLES = {"held": "green", "broken": "bold red", "skipped": "dim"}
_STATED = "env/drills.yaml by `nox -s schema`"
_SEEN = "a run by `nox -s drill -- … write=1`"
_RESULTS = TypeAdapter(list[Result])
_SHOWN = 100  # characters of a sentence in the page's table
# Part of every promise: said in the table only where it did not hold.
_ROUTINE = {"fault", "status", "after the restart", "left behind", "what ran", "afterwards"}


def keep(results: Sequence[Result], folder: Path) -> list[Result]:
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


def to_json(results: Sequence[Result]) -> str:
    """The results for programs."""
    return _RESULTS.dump_json(list(results), indent=2).decode() + "\n"


def show(results: Sequence[Result], console: Console) -> None:
    """Print a line for each drill, and below it every promise that did not hold."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("drill", "promise", "answered", "mended", ""):
        table.add_column(column, overflow="fold")
    for one in results:
        said = [f"{seen.what}: {seen.says}" for seen in one.broken] or ([one.why] if one.why else [])
        status = Text(one.status, style=_STYLES[one.status])
        table.add_row(one.name, status, _s(one.answered_s), _s(one.mended_s), Text("; ".join(said)))
    console.print(table)


def export_catalogue(root: Path, drills: Drills) -> None:
    """Write what is stated into the page. Raises BadInput when its markers are gone."""
    page = root / PAGE
    page.write_text(with_catalogue(page.read_text(encoding="utf-8"), drills), encoding="utf-8")


def with_catalogue(text: str, drills: Drills) -> str:
    """The page's text with every fault between its markers."""
    parts = [_stated(name, one) for name, one in drills.drills.items()]
    return between(text, _STATED, "\n" + "".join(parts), PAGE)


def _stated(name: str, one: DrillEntry) -> str:
    end = f"Each answer or error within {one.bound_s:g} s" if one.bound_s else f"Not performed: {one.instead}"
    lines = [
        f"### {name}\n",
        f"{one.title[:1].upper()}{one.title[1:]}.\n",
        f"- **A client sees:** {one.sees}. {end}.",
        f"- **The kit:** {one.kit}.",
        f"- **To recover:** {one.recover}.\n\n",
    ]
    return "\n".join(lines)


def export_results(root: Path, results: Sequence[Result], drills: Drills) -> None:
    """Write what was seen into the page. Raises BadInput when its markers are gone."""
    page, order = root / PAGE, list(drills.drills)
    known = sorted((one for one in results if one.name in order), key=lambda one: order.index(one.name))
    text = between(page.read_text(encoding="utf-8"), _SEEN, _markdown(known), PAGE)
    page.write_text(text, encoding="utf-8")


def _markdown(results: Sequence[Result]) -> str:
    rows = [
        "",
        "| drill | where | promise | what was seen | answered | mended |",
        "|---|---|---|---|---|---|",
    ]
    names = dict.fromkeys((one.name, _where(one), one.status) for one in results)
    for name, where, status in names:
        runs = [one for one in results if (one.name, _where(one), one.status) == (name, where, status)]
        if status == "skipped":
            rows.append(f"| {name} | {where} | skipped | {runs[-1].why} | | |")
            continue
        times = f", {len(runs)} times" if len(runs) > 1 else ""
        word = f"**broken**{times}" if status == "broken" else f"held{times}"
        answered = max((one.answered_s for one in runs if one.answered_s is not None), default=None)
        mended = max((one.mended_s for one in runs if one.mended_s is not None), default=None)
        rows.append(f"| {name} | {where} | {word} | {_summary(runs[-1])} | {_s(answered)} | {_s(mended)} |")
    day = max((one.at for one in results), default=None)
    when = f"\nSeen on {day:%Y-%m-%d}; times are the longest of all runs.\n" if day else ""
    return "\n".join(rows) + "\n" + when + "\n"


def _summary(one: Result) -> str:
    """What was seen, each sentence once; what broke a promise stands out."""
    told = [
        (f"{seen.what}: {shorten(seen.says, _SHOWN, placeholder=' …')}", seen.good)
        for seen in one.seen
        if not seen.good or seen.what not in _ROUTINE
    ]
    said = dict.fromkeys(text if good else f"**{text}**" for text, good in told)
    return "; ".join(said).replace("|", "\\|")


def _where(one: Result) -> str:
    machine = "stand-ins" if one.standin else "hardware"
    return f"{one.case}, {one.runtime}, {machine}" + (f", {one.hosts} hosts" if one.hosts > 1 else "")


def _place(one: Result) -> tuple[str, str]:
    return one.name, _where(one)


def _s(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"
