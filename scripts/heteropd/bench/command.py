"""The verb `bench`: one benchmark, its JSON and its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from heteropd.bench import bringup, engines, results, router
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import bench
from heteropd.console.width import console
from heteropd.errors import EXIT_OK, BadInput, did_you_mean
from heteropd.system import LocalRunner, SystemClock

WHAT = ("router", "engines", "bringup")


def run(what: str | None, given: Mapping[str, str | bool], root: Path, prepare: Callable[[], object]) -> int:
    """Run one benchmark with what is ``given`` over env/bench.yaml; ``prepare`` makes what it needs first.

    Writes .heteropd/bench/NAME-TIME.json and prints tables. Returns 0 when it measured, whatever the figures
    are. Raises BadInput for an unknown name or value, KitError when a measurement was not possible.
    """
    chosen = bench.load(root)
    if what == "router":
        measure = partial(router.measure, bench.changed(chosen.router, given))
    elif what == "engines":
        measure = partial(engines.measure, bench.changed(chosen.engines, given))
    elif what == "bringup":
        measure = partial(bringup.measure, bench.changed(chosen.bringup, given))
    else:
        problem = "missing" if what is None else "no such benchmark"
        raise BadInput("command line", "what", what, problem, did_you_mean(what or "", WHAT))
    prepare()
    workspace = BenchWorkspace(root, LocalRunner(), SystemClock())
    result = measure(chosen.prompt, workspace)
    results.show(result, results.write(result, workspace.folder("")), console())
    return EXIT_OK
