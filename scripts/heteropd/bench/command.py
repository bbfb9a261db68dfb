"""The verb `bench`: one benchmark, its JSON and its tables."""

from __future__ import annotations

from pathlib import Path

from heteropd.bench import bringup, engines, results, router
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import bench
from heteropd.console.width import console
from heteropd.errors import EXIT_OK, BadInput
from heteropd.system import LocalRunner, SystemClock

WHAT = ("bringup", "router", "engines")


def main(words: list[str], root: Path) -> int:
    """Run one benchmark: ``words`` are its name and ``NAME=VALUE`` options over env/bench.yaml.

    Writes .heteropd/bench/NAME-TIME.json and prints tables. Returns 0 when it measured, whatever the figures
    are. Raises BadInput for a word that is not understood, KitError when a measurement was not possible.
    """
    names = [word for word in words if word in WHAT]
    if len(names) != 1:
        problem = "names no benchmark" if not names else "names more than one benchmark"
        raise BadInput("command line", "bench", " ".join(words), problem, f"name one of {', '.join(WHAT)}")
    rest = [word for word in words if word != names[0]]
    chosen, workspace = bench.load(root), BenchWorkspace(root, LocalRunner(), SystemClock())
    if names[0] == "router":
        result = router.measure(bench.changed(chosen.router, rest), chosen.prompt, workspace)
    elif names[0] == "engines":
        result = engines.measure(bench.changed(chosen.engines, rest), chosen.prompt, workspace)
    else:
        result = bringup.measure(bench.changed(chosen.bringup, rest), chosen.prompt, workspace)
    results.show(result, results.write(result, workspace.folder("")), console())
    return EXIT_OK
