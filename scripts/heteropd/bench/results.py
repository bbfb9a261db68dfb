"""What a benchmark leaves: a JSON file and a table. Nothing here asserts anything."""

import json
import os
import platform
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import psutil
from pydantic import BaseModel, ConfigDict, Field, computed_field
from rich.console import Console
from rich.table import Table

Direction = Literal["at least", "at most"]


class Aim(BaseModel):
    """A figure beside what was aimed at. ``met`` is None when the figure could not be measured."""

    model_config = ConfigDict(frozen=True)

    name: str
    direction: Direction
    aim: float
    value: float | None
    unit: str = "x"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.aim if self.direction == "at least" else self.value <= self.aim


class Figures(BaseModel):
    """What one benchmark measured. ``rows`` are medians over rounds, ``rounds`` every single measurement."""

    columns: list[str] = Field(description="Columns of the table, in order: keys of a row")
    rows: list[dict[str, Any]]
    rounds: list[dict[str, Any]]
    targets: list[Aim]
    notes: list[str] = Field(default_factory=list)


class BenchResult(Figures):
    """One run of one benchmark, with what it takes to compare it with another."""

    what: str
    started: datetime
    seconds: float
    machine: dict[str, Any]
    settings: dict[str, Any]


def machine() -> dict[str, Any]:
    """The class of this machine: enough to compare figures, nothing that names it."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


class Written(Protocol):
    """What every result has."""

    @property
    def what(self) -> str: ...

    @property
    def started(self) -> datetime: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


def write(result: Written, folder: Path) -> Path:
    """Write the result as JSON into the folder; returns the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.what}-{result.started:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(result.model_dump(mode="json"), indent=2) + "\n")
    return path


def show(result: BenchResult, path: Path, console: Console) -> None:
    """Print the rows, the targets and the notes."""
    table = Table(title=f"bench {result.what}: medians", title_justify="left")
    for column in result.columns:
        table.add_column(column, justify="left" if column == result.columns[0] else "right")
    for row in result.rows:
        table.add_row(*(shown(row.get(column)) for column in result.columns))
    console.print(table)
    aims = Table("figure", "aim", "measured", "", title="targets", title_justify="left")
    for target in result.targets:
        aim = f"{target.direction} {target.aim:g} {target.unit}"
        word = {True: "met", False: "NOT met", None: "not measured"}[target.met]
        measured = "-" if target.value is None else f"{shown(target.value)} {target.unit}"
        aims.add_row(target.name, aim, measured, word)
    console.print(aims)
    for line in [*(f"note: {note}" for note in result.notes), f"written: {path}"]:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def shown(value: object) -> str:
    """A cell's text: three significant digits for a fraction, thousands apart for a large number."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
