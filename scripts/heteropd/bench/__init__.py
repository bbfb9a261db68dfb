"""Benchmarks: what the kit costs and what it gains. They measure and compare; they assert nothing."""

from __future__ import annotations

from pathlib import Path

from heteropd.errors import EXIT_OK, BadInput

WHAT = ("bringup", "router", "engines")


def main(words: list[str], root: Path) -> int:
    """Run one benchmark: ``words`` are its name and ``NAME=VALUE`` options over env/bench.yaml.

    Writes .heteropd/bench/NAME-TIME.json and prints tables. Returns 0 when it measured, whatever the figures
    are. Raises BadInput for a word that is not understood, KitError when a measurement was not possible.
    """
    # Lazy: the load generator and the mock engines are modules of this package, and start with it.
    from heteropd.bench import bringup, engines, results, router  # noqa: PLC0415
    from heteropd.bench.workspace import BenchWorkspace  # noqa: PLC0415
    from heteropd.config import bench  # noqa: PLC0415
    from heteropd.console.width import console  # noqa: PLC0415
    from heteropd.system import LocalRunner, SystemClock  # noqa: PLC0415

    names = [word for word in words if word in WHAT]
    if len(names) != 1:
        problem = "names no benchmark" if not names else "names more than one benchmark"
        raise BadInput("command line", "bench", " ".join(words), problem, f"name one of {', '.join(WHAT)}")
    rest = [word for word in words if word != names[0]]
    chosen, lab = bench.load(root), BenchWorkspace(root, LocalRunner(), SystemClock())
    if names[0] == "router":
        result = router.measure(bench.changed(chosen.router, rest), chosen.prompt, lab)
    elif names[0] == "engines":
        result = engines.measure(bench.changed(chosen.engines, rest), chosen.prompt, lab)
    else:
        result = bringup.measure(bench.changed(chosen.bringup, rest), chosen.prompt, lab)
    results.show(result, results.write(result, lab.folder("")), console())
    return EXIT_OK
