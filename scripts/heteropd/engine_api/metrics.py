"""Reading an engine's Prometheus page, across the names that metric kinds and vLLM versions use."""

import math
from collections.abc import Iterable, Mapping
from typing import Self

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

# What is counted, as (name without suffix, labels). A histogram's sum counts like a counter.
COUNTERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "transfers": ("vllm:nixl_xfer_time_seconds_count", {}),
    "bytes": ("vllm:nixl_bytes_transferred", {}),
    "descriptors": ("vllm:nixl_num_descriptors", {}),
    "failed_transfers": ("vllm:nixl_num_failed_transfers", {}),
    "failed_notifications": ("vllm:nixl_num_failed_notifications", {}),
    "expired": ("vllm:nixl_num_kv_expired_reqs", {}),
    "late_notifications": ("vllm:nixl_num_notifications_after_expiry", {}),
    "digests_equal": ("heteropd:kv_digests_equal", {}),
    "digests_differs": ("heteropd:kv_digests_differs", {}),
    "digests_unknown": ("heteropd:kv_digests_unknown", {}),
    "digests_left_out": ("heteropd:kv_digests_left_out", {}),
    "external_hits": ("vllm:external_prefix_cache_hits", {}),
    "local_hits": ("vllm:prefix_cache_hits", {}),
    "computed": ("vllm:prompt_tokens_by_source", {"source": "local_compute"}),
    "prompt_tokens": ("vllm:prompt_tokens", {}),
    "generation_tokens": ("vllm:generation_tokens", {}),
    "requests": ("vllm:request_success", {}),
    # Not counters: how many there are now.
    "running": ("vllm:num_requests_running", {}),
    "waiting": ("vllm:num_requests_waiting", {}),
}
_SUFFIXES = ("_total", "_sum", "")
_CACHE = "vllm:cache_config_info"


def samples(page: str) -> list[Sample]:
    """The samples of a text exposition page without buckets; none of a page that is not one."""
    # Buckets are most of the page, and nothing here reads them.
    lines = [line for line in page.splitlines() if "_bucket{" not in line]
    try:
        families = list(text_string_to_metric_families("\n".join(lines) + "\n"))
    except ValueError:
        return []
    return [sample for family in families for sample in family.samples]


def total(page: Iterable[Sample], name: str, labels: Mapping[str, str]) -> float | None:
    """The sum over all series of one metric that carry ``labels``; None when there is none."""
    pool = list(page)
    for suffix in _SUFFIXES:
        values = [
            sample.value
            for sample in pool
            if sample.name == name + suffix and labels.items() <= sample.labels.items()
        ]
        if values:
            return sum(values)
    return None


def cache_config(page: Iterable[Sample]) -> Mapping[str, str]:
    """What an engine says of its KV cache (``block_size``, ``num_gpu_blocks``, …), empty if it does not."""
    return next((sample.labels for sample in page if sample.name == _CACHE), {})


class Counts(dict[str, int | None]):
    """One reading: a count per key of `COUNTERS`, None where the engine has no such metric."""

    @classmethod
    def read(cls, page: str) -> Self:
        return cls.of(samples(page))

    @classmethod
    def of(cls, page: Iterable[Sample]) -> Self:
        pool = list(page)
        return cls({key: _whole(total(pool, name, labels)) for key, (name, labels) in COUNTERS.items()})

    def since(self, earlier: Self) -> Self:
        """How far each count has moved."""
        return type(self)({key: _minus(now, earlier.get(key)) for key, now in self.items()})

    @classmethod
    def sum(cls, several: Iterable[Self]) -> Self:
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
    return None if not known or any(value is None for value in known) else sum(value or 0 for value in known)
