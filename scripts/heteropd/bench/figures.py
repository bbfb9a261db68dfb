"""Arithmetic of the benchmarks. Pure, and of the standard library only: the load generator imports it."""

import math
from collections.abc import Sequence
from statistics import median

__all__ = ["known_sum", "median", "percentile", "spread"]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of values in ascending order. Raises ValueError when there are none."""
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> float:
    """Half the range over the median: how far single rounds lie from what is reported. 0 for one value."""
    middle = median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0


def known_sum(*counts: int | None) -> int | None:
    """Of those that are counted; None where none is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
