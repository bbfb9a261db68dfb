"""Router benchmark: the same two mock engines behind the router, behind a minimal proxy, and direct."""

from itertools import product
from typing import Any

from heteropd.bench import cpu
from heteropd.bench.children import Children
from heteropd.bench.figures import median, spread
from heteropd.bench.results import Aim, Figures
from heteropd.bench.router_ways import Measurement, RouterBench
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config.bench import RouterSettings

MEDIANS = ["req/s", "p50 ms", "p99 ms", "CPU load", "CPU way", "CPU engines", cpu.COLUMN]
COLUMNS = ["way", "clients", *MEDIANS[:3], "spread", *MEDIANS[3:]]
SATURATED = 0.9  # of one core: the load generator has one thread


def measure(settings: RouterSettings, prompt: str, workspace: BenchWorkspace) -> Figures:
    """Measure every way in with every number of clients, round by round in turns.

    Raises KitError when a process does not come up, a request fails, or a way in does not do what a PD
    router must: one prefill and one decode with that prefill's blocks for every request.
    """
    clock, rounds = workspace.clock, list[Measurement]()
    began = clock.now()
    with Children("router-run", workspace) as children:
        with workspace.step("starting mock engines, proxy and router"):
            bench = RouterBench.start(settings, prompt, workspace, children)
        for number in range(settings.rounds):
            spent = clock.now() - began
            if number and spent * (number + 1) / number > settings.limit_s:
                break
            with workspace.step(f"round {number + 1} of {settings.rounds}"):
                # Every other round goes backwards, so that a drift of the machine favours nobody.
                ways = bench.ways if number % 2 == 0 else bench.ways[::-1]
                for clients, way in product(settings.clients, ways):
                    rounds.append({"round": number, **bench.load(way, clients)})
    rows = summary(rounds)
    return Figures(
        columns=COLUMNS,
        rows=rows,
        rounds=rounds,
        targets=aims(rows, settings.throughput_ratio),
        notes=notes(rows, rounds, settings),
    )


def summary(rounds: list[Measurement]) -> list[dict[str, Any]]:
    """Medians over the rounds: one row for each number of clients and way in."""
    cells: dict[tuple[int, str], list[Measurement]] = {}
    for measured in sorted(rounds, key=lambda measured: (measured["clients"], measured["way"])):
        cells.setdefault((measured["clients"], measured["way"]), []).append(measured)
    return [
        {
            "way": way,
            "clients": clients,
            **{name: median([measured[name] for measured in cell]) for name in MEDIANS},
            "spread": spread([measured["req/s"] for measured in cell]),
        }
        for (clients, way), cell in cells.items()
    ]


def aims(rows: list[dict[str, Any]], aim: float) -> list[Aim]:
    """Throughput of the router over the proxy's, for each number of clients."""
    rates = {(row["way"], row["clients"]): row["req/s"] for row in rows}
    return [
        Aim(
            name=f"router / proxy, {clients} client{'s' if clients > 1 else ''}",
            direction="at least",
            aim=aim,
            value=rates["router", clients] / rate,
        )
        for (way, clients), rate in rates.items()
        if way == "proxy"
    ]


def notes(rows: list[dict[str, Any]], rounds: list[Measurement], settings: RouterSettings) -> list[str]:
    """What limits the figures: rounds that were left out, and a load generator at the end of its core."""
    lines = []
    done = 1 + max(measured["round"] for measured in rounds)
    if done < settings.rounds:
        lines.append(
            f"{done} of {settings.rounds} rounds: more would take longer than {settings.limit_s:g} s"
        )
    behind = [row for row in rows if row["way"] != "direct"]
    busy = [f"{row['way']} with {row['clients']}" for row in behind if row["CPU load"] > SATURATED]
    if busy:
        lines.append(f"the load generator was at its limit at {', '.join(busy)}: lower bounds")
    else:
        most = max(row["CPU load"] for row in behind)
        lines.append(
            f"CPU columns are cores in use; behind proxy and router the load took at most {most:.2f}"
        )
    return lines + cpu.remark(rounds)
