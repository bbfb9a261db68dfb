"""Runs guidellm for the load benchmark, in guidellm's own environment: one scenario after the other.

A process for all of them, because importing guidellm takes longer than a level of the smoke profile. For
every ``NAME.scenario.json`` that appears in the folder it writes ``NAME.requests.json``: what its client saw
of each request, or ``{"error": …}``. It is ended by whoever started it.

    python -m heteropd.bench.peers.guidellm_levels FOLDER
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from importlib import import_module
from importlib.metadata import version
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

_LOOK_S = 0.1
# What workers import: once, in the server that they are forked from.
_PRELOADED = ["guidellm.scheduler", "guidellm.backends", "guidellm.benchmark.entrypoints"]


def request_of(stats: Any, status: str) -> dict[str, Any]:
    """One request, in seconds of the wall clock."""
    timings = stats.info.timings
    ttft, itl = stats.time_to_first_token_ms, stats.inter_token_latency_ms
    return {
        "start": stats.request_start_time,
        "end": timings.request_end or timings.resolve_end,
        "prompt_tokens": stats.prompt_tokens or 0,
        "output_tokens": stats.output_tokens or 0,
        "ttft_s": ttft / 1000 if ttft is not None else None,
        "itl_s": itl / 1000 if itl is not None else None,
        "e2e_s": stats.request_latency,
        "ok": status == "successful",
        "error": None if status == "successful" else stats.info.error or status,
    }


def run(scenario: dict[str, Any]) -> dict[str, Any]:
    """Run one scenario of one level."""
    from guidellm.benchmark.entrypoints import benchmark_generative_text  # noqa: PLC0415
    from guidellm.schemas.benchmark import BenchmarkScenario  # noqa: PLC0415

    arguments = BenchmarkScenario.model_validate({"spec": scenario})
    report, _ = asyncio.run(benchmark_generative_text(arguments, progress=False))
    found = report.benchmarks[0].requests
    return {
        "requests": [
            request_of(stats, status)
            for status in ("successful", "errored", "incomplete")
            for stats in getattr(found, status) or []
        ]
    }


def keep_schedule(poisson: Any, base: Any) -> None:
    """Let arrivals begin when the workers do.

    guidellm 0.8.1 wakes its workers first, to whom all is due since 1970 until it says otherwise: on a busy
    machine they sent 37 of 40 requests at once.
    """

    def init_processes_start(strategy: Any, start_time: float) -> None:
        with strategy._offset.get_lock():
            strategy._offset.value = start_time
        base.init_processes_start(strategy, start_time)

    poisson.init_processes_start = init_processes_start


def main(argv: list[str]) -> None:
    """Serve the folder until ended."""
    folder = Path(argv[0])
    forkserver.set_forkserver_preload(_PRELOADED)
    forkserver.ensure_running()  # imports while we do
    for module in _PRELOADED:
        import_module(module)
    strategies = import_module("guidellm.scheduler.strategies")
    keep_schedule(strategies.AsyncPoissonStrategy, strategies.ThroughputStrategy)
    (folder / "ready").write_text(version("guidellm"))
    while True:
        for file in sorted(folder.glob("*.scenario.json")):
            answer = file.with_name(file.name.replace(".scenario.", ".requests."))
            try:
                result = run(json.loads(file.read_text()))
            except Exception as problem:
                result = {"error": f"{type(problem).__name__}: {problem}"}
            file.unlink()
            part = answer.with_suffix(".part")
            part.write_text(json.dumps(result))
            part.replace(answer)
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    main(sys.argv[1:])
