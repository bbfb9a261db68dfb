"""The verb `bench`: one benchmark, its JSON and its tables."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from heteropd.bench import bringup, engines, kv, results, router
from heteropd.bench.load import command as load
from heteropd.bench.results import BenchResult, Figures
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import bench
from heteropd.config.bench import BenchSettings
from heteropd.console.width import console
from heteropd.errors import EXIT_OK, BadInput, did_you_mean
from heteropd.system import LocalRunner, SystemClock
from heteropd.topology import Context

MEASURE: dict[str, Callable[..., Figures]] = {
    "router": router.measure,
    "engines": engines.measure,
    "bringup": bringup.measure,
    "kv": kv.measure,
}


def run(
    what: str | None, given: Mapping[str, str | bool], context: Context, prepare: Callable[[], object]
) -> int:
    """Run one benchmark with what is ``given`` over env/bench.yaml; ``prepare`` makes what it needs first.

    Writes .heteropd/bench/NAME-TIME.json and prints tables; progress goes to stderr. Returns 0 when it
    measured, whatever the figures are; load judges its own. Raises BadInput for an unknown name or value,
    KitError when a measurement was not possible.
    """
    root, chosen = context.root, bench.load(context.root)
    if what == "load":
        return load.run(chosen, given, context, prepare)
    settings, measure = _benchmark(what, given, chosen)
    prepare()
    workspace = BenchWorkspace(root, LocalRunner(), SystemClock(), console(stderr=True))
    clock, machine = workspace.clock, results.machine()
    started, began = clock.wall(), clock.now()
    figures = measure(workspace=replace(workspace, began=began))
    result = BenchResult(
        what=f"{what}-cold" if settings.get("cold") else str(what),
        started=started,
        seconds=clock.now() - began,
        machine=machine,
        settings=settings,
        **dict(figures),
    )
    results.show(result, results.write(result, workspace.folder("")), console())
    return EXIT_OK


def _benchmark(
    what: str | None, given: Mapping[str, str | bool], chosen: BenchSettings
) -> tuple[dict[str, Any], partial[Figures]]:
    """The settings of a benchmark, and what measures it in a workspace."""
    if what in MEASURE:
        section = bench.changed(getattr(chosen, what), given)
        return section.model_dump(), partial(MEASURE[what], section, chosen.prompt)
    problem = "missing" if what is None else "no such benchmark"
    raise BadInput("command line", "what", what, problem, did_you_mean(what or "", [*MEASURE, "load"]))
