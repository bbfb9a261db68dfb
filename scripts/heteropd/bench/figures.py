"""Arithmetic of the benchmarks. Pure, and of the standard library only: the load generator imports it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

__all__ = ["median", "percentile", "spread"]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of values in ascending order. Raises ValueError when there are none."""
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> float:
    """Half the range over the median: how far single rounds lie from what is reported. 0 for one value."""
    middle = median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0
