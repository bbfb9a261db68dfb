"""Reading an engine's Prometheus page, across the names that metric kinds and vLLM versions use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_LINE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

# What is counted, as (name without suffix, labels). A histogram's sum counts like a counter.
COUNTERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "transfers": ("vllm:nixl_xfer_time_seconds_count", {}),
    "bytes": ("vllm:nixl_bytes_transferred", {}),
    "descriptors": ("vllm:nixl_num_descriptors", {}),
    "failed_transfers": ("vllm:nixl_num_failed_transfers", {}),
    "failed_notifications": ("vllm:nixl_num_failed_notifications", {}),
    "expired": ("vllm:nixl_num_kv_expired_reqs", {}),
    "late_notifications": ("vllm:nixl_num_notifications_after_expiry", {}),
    "external_hits": ("vllm:external_prefix_cache_hits", {}),
    "local_hits": ("vllm:prefix_cache_hits", {}),
    "computed": ("vllm:prompt_tokens_by_source", {"source": "local_compute"}),
    "prompt_tokens": ("vllm:prompt_tokens", {}),
    "generation_tokens": ("vllm:generation_tokens", {}),
    "requests": ("vllm:request_success", {}),
}
_SUFFIXES = ("_total", "_sum", "")


@dataclass(frozen=True)
class Sample:
    """One line of the page."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse(page: str) -> list[Sample]:
    """Samples of a text exposition page; comments, buckets and lines that are not samples are skipped."""
    samples = []
    for line in page.splitlines():
        match = None if line.startswith("#") or "_bucket{" in line else _LINE.match(line.strip())
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        samples.append(Sample(match[1], dict(_LABEL.findall(match[2] or "")), value))
    return samples


def total(samples: Iterable[Sample], name: str, labels: Mapping[str, str]) -> float | None:
    """The sum over all series of one metric that carry ``labels``; None when there is none."""
    pool = list(samples)
    for suffix in _SUFFIXES:
        values = [
            one.value
            for one in pool
            if one.name == name + suffix
            and all(one.labels.get(key) == value for key, value in labels.items())
        ]
        if values:
            return sum(values)
    return None


class Counts(dict[str, int | None]):
    """One reading: a count per key of `COUNTERS`, None where the engine has no such metric."""

    @classmethod
    def read(cls, page: str) -> Counts:
        samples = parse(page)
        return cls({key: _whole(total(samples, name, labels)) for key, (name, labels) in COUNTERS.items()})

    def since(self, earlier: Counts) -> Counts:
        """How far each count has moved."""
        return Counts({key: _minus(now, earlier.get(key)) for key, now in self.items()})

    @classmethod
    def sum(cls, several: Iterable[Counts]) -> Counts:
        """Over engines of one role; a count that one of them lacks is unknown for all."""
        rows = list(several)
        return cls({key: _plus(row.get(key) for row in rows) for key in COUNTERS})


def _whole(value: float | None) -> int | None:
    return None if value is None or math.isnan(value) else round(value)


def _minus(now: int | None, then: int | None) -> int | None:
    # A series may appear with its first event only: then it began at nothing.
    return None if now is None else now - (then or 0)


def _plus(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if not known or any(one is None for one in known) else sum(one or 0 for one in known)
