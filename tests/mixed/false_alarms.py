"""How many clean validations of a mixed pair would fail, by simulation on what an H100 and a stand-in gave.

    .nox/kit/bin/python -P tests/mixed/false_alarms.py [RUNS]

docs/evidence/mixed/noise.json has each measured run's noise floor ([typical, largest] between the engines
alone, [typical, largest] cold against warm) and, where its answers were right, every probe's largest and mean
difference. The thresholds are those of env/validation.yaml. A simulated run has one measured run's floor with
probes drawn from its own; or floor and probes are drawn each by itself, as measured or with a tail beyond the
largest (Pareto, fitted to them). No second opinion is asked: ``position`` is what would come to it.
"""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from statistics import median
from typing import Any

from heteropd import proof

ROOT = Path(__file__).parents[2]
PROBES = 26
DTYPES = {"bfloat16": 1.0, "float16": 8.0}  # float16 has three more bits; two runs of its own are too few


class Tail:
    """Draws of what was measured; with ``heavy``, the largest ``part`` from a Pareto tail fitted to them."""

    def __init__(self, values: list[float], part: float, *, heavy: bool) -> None:
        self.values = sorted(values)
        count = int(len(values) * part) if heavy else 0
        self.body, top = self.values[: len(values) - count], self.values[len(values) - count :]
        self.part, self.least = count / len(values), self.body[-1]
        self.shape = count / sum(math.log(value / self.least) for value in top) if top else 0.0

    def draw(self) -> float:
        if random.random() < self.part:
            return self.least * random.paretovariate(self.shape)
        return random.choice(self.body)


def alarms(measured: list[dict[str, Any]], dtype: str, runs: int, *, heavy: bool = False) -> dict[str, float]:
    """The part of simulated runs that each check refuses."""
    settings, smaller = proof.load(ROOT), DTYPES[dtype]
    limits, noise = settings.limits_for(dtype), settings.noise
    right = [run for run in measured if run["dtype"] == "bfloat16"]
    floors = [[value / smaller for value in run["floor"]] for run in right]
    largest, means = (
        Tail([value / smaller for run in right for value in run.get(name, ())] or [0.0], 0.05, heavy=heavy)
        for name in ("largest", "mean")
    )
    between = Tail([floor[1] for floor in floors], 0.25, heavy=heavy)
    refused = dict.fromkeys(("weights", "position", "run"), 0)
    for _ in range(runs):
        typical, _, warm_typical, warm = random.choice(floors)
        most = between.draw()
        bound = max(limits.least_position, noise.times_largest * max(most, warm))
        bound = min(bound, noise.times_largest * limits.most_position)
        shift = max(limits.least_run, noise.times_median * max(typical, warm_typical))
        refused["weights"] += typical > limits.most_median or most > limits.most_position
        refused["position"] += any(largest.draw() > bound for _ in range(PROBES))
        refused["run"] += median(means.draw() for _ in range(PROBES)) > shift
    return {name: count / runs for name, count in refused.items()}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    measured = json.loads((ROOT / "docs/evidence/mixed/noise.json").read_text())
    random.seed(17)
    for dtype in DTYPES:
        whole = [run for run in measured if run["dtype"] == "bfloat16" and "largest" in run]
        each = [alarms([run], dtype, runs // len(whole)) for run in whole]
        found = {
            "a run's floor with its own probes": {
                name: sum(part[name] for part in each) / len(each) for name in each[0]
            },
            "each by itself": alarms(measured, dtype, runs),
            "with a tail": alarms(measured, dtype, runs, heavy=True),
        }
        for how, parts in found.items():
            print(f"{dtype}, {how}: " + ", ".join(f"{name} {part:.2%}" for name, part in parts.items()))


if __name__ == "__main__":
    main()
