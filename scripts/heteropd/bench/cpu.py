"""Who used the CPU meanwhile: figures taken while something else was busy are not to be trusted."""

from collections.abc import Sequence
from typing import Any

import psutil

from heteropd.bench.children import Children
from heteropd.system import Clock

COLUMN = "CPU others"
DISTURBED = 0.2  # cores; a benchmark's own bookkeeping stays well below


def busy_s() -> float:
    """CPU seconds that this machine was not idle since its start, on all cores; stolen time counts."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def own_s(children: Children) -> float:
    """CPU seconds that this process and the benchmark's living children have used."""
    times = psutil.Process().cpu_times()
    return float(times.user + times.system) + sum(child.cpu_s() for child in children.started)


def in_use(clock: Clock, seconds: float = 1.0) -> float:
    """Cores in use on this machine now, looked at for ``seconds``."""
    before, began = busy_s(), clock.now()
    clock.sleep(seconds)
    return (busy_s() - before) / (clock.now() - began)


def remark(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What to say when other programs used the CPU during any of these measurements."""
    others = max(row[COLUMN] for row in rows)
    if others <= DISTURBED:
        return []
    return [f"other programs used up to {others:.2f} cores meanwhile: measure again on an idle machine"]
