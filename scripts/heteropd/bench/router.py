"""Router benchmark: the same two mock engines behind the router, behind a minimal proxy, and direct."""

from __future__ import annotations

from itertools import product
from typing import Any

from heteropd.bench import cpu, results
from heteropd.bench.children import Children
from heteropd.bench.figures import median, spread
from heteropd.bench.results import Aim, BenchResult
from heteropd.bench.router_stage import Measurement, RouterBench
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config.bench import RouterSettings

COLUMNS = [
    "way",
    "clients",
    "req/s",
    "p50 ms",
    "p99 ms",
    "spread",
    "CPU load",
    "CPU way",
    "CPU engines",
    cpu.COLUMN,
]
MEDIANS = [name for name in COLUMNS if name not in ("way", "clients", "spread")]
SATURATED = 0.9  # of one core: the load generator has one thread


def measure(settings: RouterSettings, prompt: str, lab: BenchWorkspace) -> BenchResult:
    """Measure every way in with every number of clients, round by round in turns.

    Raises KitError when a process does not come up, a request fails, or a way in does not do what a PD
    router must: one prefill and one decode with that prefill's blocks for every request.
    """
    clock = lab.clock
    machine, started, began = results.machine(), clock.wall(), clock.now()
    rounds: list[Measurement] = []
    with Children("router-run", lab) as children:
        stage = RouterBench.start(settings, prompt, lab, children)
        for number in range(settings.rounds):
            spent = clock.now() - began
            if number and spent * (number + 1) / number > settings.limit_s:
                break
            rounds += _round(stage, number)
    rows = summary(rounds)
    return BenchResult(
        what="router", started=started, seconds=clock.now() - began, machine=machine,
        settings=settings.model_dump(), columns=COLUMNS, rows=rows, rounds=rounds,
        targets=targets(rows, settings.throughput_ratio), notes=notes(rows, rounds, settings),
    )  # fmt: skip


def _round(stage: RouterBench, number: int) -> list[Measurement]:
    # Every other round goes backwards, so that a drift of the machine favours nobody.
    ways = stage.ways if number % 2 == 0 else stage.ways[::-1]
    return [
        {"round": number, **stage.one(way, clients)} for clients, way in product(stage.settings.clients, ways)
    ]


def summary(rounds: list[Measurement]) -> list[dict[str, Any]]:
    """Medians over the rounds: one row for each number of clients and way in."""
    cells: dict[tuple[int, str], list[Measurement]] = {}
    for one in sorted(rounds, key=lambda one: (one["clients"], one["way"])):
        cells.setdefault((one["clients"], one["way"]), []).append(one)
    return [
        {
            "way": way,
            "clients": clients,
            **{name: median([one[name] for one in cell]) for name in MEDIANS},
            "spread": spread([one["req/s"] for one in cell]),
        }
        for (clients, way), cell in cells.items()
    ]


def targets(rows: list[dict[str, Any]], aim: float) -> list[Aim]:
    """Throughput of the router over the proxy's, for each number of clients."""
    found = {(row["way"], row["clients"]): row["req/s"] for row in rows}
    return [
        Aim(
            name=f"router / proxy, {clients} client{'s' if clients > 1 else ''}",
            direction="at least",
            aim=aim,
            value=found["router", clients] / rate,
        )
        for (way, clients), rate in found.items()
        if way == "proxy"
    ]


def notes(rows: list[dict[str, Any]], rounds: list[Measurement], settings: RouterSettings) -> list[str]:
    """What limits the figures: rounds that were left out, and a load generator at the end of its core."""
    said = []
    done = 1 + max(one["round"] for one in rounds)
    if done < settings.rounds:
        said.append(f"{done} of {settings.rounds} rounds: more would take longer than {settings.limit_s:g} s")
    behind = [row for row in rows if row["way"] != "direct"]
    busy = [f"{row['way']} with {row['clients']}" for row in behind if row["CPU load"] > SATURATED]
    if busy:
        said.append(f"the load generator was at its limit at {', '.join(busy)}: lower bounds")
    else:
        most = max(row["CPU load"] for row in behind)
        said.append(f"CPU columns are cores in use; behind proxy and router the load took at most {most:.2f}")
    return said + cpu.remark(rounds)
