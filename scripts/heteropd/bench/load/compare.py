"""Load results that are kept: found by their names, and two of them beside each other."""

import re
from pathlib import Path

from rich.console import Console
from rich.table import Table

from heteropd.bench.load.model import LoadResult
from heteropd.bench.load.tables import figures
from heteropd.bench.results import shown
from heteropd.proof.report import read_kept


def find_result(folder: Path, name: str) -> LoadResult | None:
    """The load result of a file, or of a name in ``folder``; None where that is nothing of the kind."""
    bare = re.sub(r"\.(json|md|html)$", "", name)
    files = (read_kept(LoadResult, file) for file in (f"{bare}.json", folder / f"{Path(bare).name}.json"))
    return next((found for found in files if isinstance(found, LoadResult)), None)


def names(folder: Path) -> list[str]:
    """Of the results that are kept, the newest last."""
    return [file.stem for file in sorted(folder.glob("load-*.json"))]


def compare_results(one: LoadResult, other: LoadResult, console: Console) -> None:
    """Print in what two results differ: what was measured, on what, and every figure with its ratio."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("", f"{one.started:%Y-%m-%d %H:%M:%S}", f"{other.started:%Y-%m-%d %H:%M:%S}", "ratio"):
        table.add_column(column, overflow="fold", justify="left" if not column else "right")
    facts, others = _facts(one), _facts(other)
    for what, value in facts.items():
        if value != others[what]:
            table.add_row(what, value, others[what], "")
    measured, again = figures(one), figures(other)
    for name in dict.fromkeys([*measured, *again]):
        before, after = measured.get(name), again.get(name)
        ratio = f"{after / before:.2f}x" if before and after else ""
        table.add_row(name, shown(before), shown(after), ratio)
    console.print(table)
    for result in (one, other):
        for reason in result.validity.reasons:
            text = f"INVALID, {result.started:%Y-%m-%d %H:%M:%S}: {reason}"
            console.print(text, style="bold red", highlight=False, markup=False)
    if facts["machine"] != others["machine"] or facts["profile"] != others["profile"]:
        console.print("Another machine or other traffic: ratios say nothing of the engines.", style="yellow")


def _facts(result: LoadResult) -> dict[str, str]:
    engines = result.engines.items()
    versions = (f"{name} {facts.get('version')} on {facts.get('runs_on')}" for name, facts in engines)
    return {
        "result": "VALID" if result.validity.valid else "INVALID",
        "case": result.case,
        "model": result.model,
        "plan": result.fingerprint[:12],
        "engines": ", ".join(versions),
        "profile": f"{result.profile_name}: {result.profile.model_dump_json()}",
        "machine": f"{result.machine.get('cpu')}, {result.machine.get('cores')} cores",
        "generator": f"{result.generator['name']} {result.generator['version']}",
    }
