"""Verdicts that are kept: each under its time, the newest under fixed names beside; listed and compared."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table

from heteropd.errors import BadInput
from heteropd.plan.model import Plan
from heteropd.proof.report.markdown import render
from heteropd.proof.report.page import render_page
from heteropd.proof.verdict import Verdict
from heteropd.system import write_whole

Model = TypeVar("Model", bound=BaseModel)

NEWEST = "verdict"
_LINK = "latest"
_STYLE = {"PASS": "green", "FAIL": "bold red", "INCOMPLETE": "yellow"}


class Paths(NamedTuple):
    """The files of the newest report."""

    json: Path
    markdown: Path
    page: Path


@dataclass(frozen=True)
class KeptReport:
    """A verdict and the name of its files without their ending."""

    name: str
    verdict: Verdict


def keep(verdict: Verdict, plan: Plan, folder: Path) -> Paths:
    """Write ``TIME-CASE.json``, ``.md`` and ``.html`` into ``folder``, and the same as ``verdict.*``, over
    former ones; ``latest.*`` lead to the first. Raises OSError."""
    name = f"{verdict.started_at:%Y%m%dT%H%M%SZ}-{verdict.case}"
    forms: dict[str, Callable[[], str]] = {
        ".json": lambda: verdict.model_dump_json(indent=2) + "\n",
        ".md": lambda: render(verdict, plan),
        ".html": lambda: render_page(verdict, plan),
    }
    for ending, form in forms.items():  # in turn: a page that takes a second keeps no figures back
        text = form()
        write_whole(folder / f"{name}{ending}", text)
        write_whole(folder / f"{NEWEST}{ending}", text)
        link = folder / f"{_LINK}{ending}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{name}{ending}")
        link.replace(folder / f"{_LINK}{ending}")
    return Paths(*(folder / f"{NEWEST}{ending}" for ending in forms))


def list_reports(folder: Path, console: Console) -> int:
    """Print every verdict that is kept, the newest last; how many there are."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("report", "verdict", "ran on", "seconds", "largest difference", "first failure"):
        table.add_column(column, overflow="fold")
    files = _files(folder)
    reports = _read_all(files)
    for report in reports:
        verdict = report.verdict
        result = f"[{_STYLE[verdict.result]}]{verdict.result}[/]"
        engines = "mixed" if verdict.real else "stand-ins" if verdict.standin else "hardware"
        ran = "unknown" if verdict.elsewhere else engines
        ran += ", thorough" if verdict.thorough else ""
        first = next((failure.id for failure in verdict.failures()), "")
        table.add_row(report.name, result, ran, f"{verdict.seconds:.0f}", _nats(verdict.largest), first)
    console.print(table if reports else "no verdict is kept yet: `make validate` makes one")
    if len(files) > len(reports):
        known = {report.name for report in reports}
        unread = ", ".join(file.name for file in files if file.stem not in known)
        console.print(f"not read, as damaged or of another version of the kit: {unread}", soft_wrap=True)
    return len(reports)


def compare_reports(folder: Path, names: Sequence[str], console: Console) -> None:
    """Print in what two kept verdicts differ. Raises BadInput for names that are not two of them."""
    if len(names) != 2:
        given = " ".join(names)
        raise BadInput("command line", "of", given, "is not two reports", "name two of `make reports`")
    one, other = (find_report(folder, name) for name in names)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("", one.name, other.name):
        table.add_column(column, overflow="fold")
    figures, others = _figures(one.verdict), _figures(other.verdict)
    for what in dict.fromkeys([*figures, *others]):
        values = [figures.get(what, "not checked"), others.get(what, "not checked")]
        if values[0] != values[1]:
            table.add_row(what, *values)
    console.print(table if table.row_count else "the two verdicts say the same")


def _figures(verdict: Verdict) -> dict[str, str]:
    floor = verdict.floor
    facts = {
        "result": verdict.result,
        "case": verdict.case,
        "model": verdict.model,
        "plan": verdict.fingerprint[:12],
        "versions": ", ".join(f"{name} {version}" for name, version in verdict.versions.items()),
        "thorough": "yes" if verdict.thorough else "no",
        "seconds": f"{verdict.seconds:.0f}",
        "probes": f"{len(verdict.probes)}",
        "largest difference (nats)": _nats(verdict.largest),
    }
    if floor:
        facts |= {
            "data type": floor.dtype,
            "noise between the engines, typical (nats)": _nats(floor.median),
            "noise between the engines, largest (nats)": _nats(floor.maximum),
            "noise cold against warm, largest (nats)": _nats(floor.warm_maximum),
            "allowed at any position (nats)": _nats(floor.position_bound),
        }
    problems = {check.id: check.status if check.status == "PASS" else f"{check.status}: {check.text}"
                for check in verdict.checks}  # fmt: skip
    return facts | problems


def _nats(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def find_report(folder: Path, name: str, option: str = "of", kind: str = "a verdict") -> KeptReport:
    """The verdict of a file, or of a name in ``folder``. Raises BadInput: ``option`` wants ``kind``."""
    bare = re.sub(r"\.(json|md|html)$", "", Path(name).name)
    problem = ""
    for file in (name, folder / f"{bare}.json"):
        found = read_kept(Verdict, file)
        if isinstance(found, Verdict):
            return KeptReport(Path(file).expanduser().resolve().stem, found)
        problem = problem or found
    known = ", ".join(report.name for report in _read_all(_files(folder)[-4:])) or "none"
    fix = f"give {kind}: its .json, or its name, as `make reports` lists them (the last: {known})"
    raise BadInput("command line", option, name, problem or "is not a file, nor the name of a report", fix)


def read_kept(model: type[Model], name: str | Path) -> Model | str:
    """What a file that the kit wrote holds; or why it cannot be had, empty where there is no such file."""
    try:
        file = Path(name).expanduser()
        if not file.is_file():
            return "is a folder" if file.is_dir() else "is not a regular file" if file.exists() else ""
        return model.model_validate_json(file.read_bytes())
    except ValidationError as bad:
        first = bad.errors()[0]
        if first["type"] == "json_invalid":
            return f"is not JSON, or damaged ({first['ctx']['error']})"
        where = ".".join(map(str, first["loc"])) or "top"
        return f"is of another kind, or of another version of the kit ({where}: {first['msg'].lower()})"
    except (OSError, RuntimeError, ValueError) as bad:
        return f"cannot be read ({getattr(bad, 'strerror', None) or bad})"


def _files(folder: Path) -> list[Path]:
    """Of all verdicts that are kept, by time."""
    return sorted(file for file in folder.glob("*Z-*.json") if not file.is_symlink())


def _read_all(files: Sequence[Path]) -> list[KeptReport]:
    """All that can be read. A report of another version of the kit may not."""
    verdicts = ((file.stem, read_kept(Verdict, file)) for file in files)
    return [KeptReport(name, verdict) for name, verdict in verdicts if isinstance(verdict, Verdict)]
