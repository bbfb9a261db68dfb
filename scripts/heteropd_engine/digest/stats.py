"""The digest's counts beside NixlConnector's own: from the worker through the scheduler to /metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.nixl.stats import NixlKVConnectorStats, NixlPromMetrics
from vllm.v1.metrics.utils import create_metric_per_engine

COUNTERS: Mapping[str, str] = {
    "made": "Prompts whose KV this engine has digested for its peer.",
    "equal": "Prompts whose received KV has the prefill's digest.",
    "differs": "Prompts whose received KV has another digest than the prefill's.",
    "unknown": "Received prompts that no digest could be compared for.",
    "left_out": "Received prompts that the prefill's sample left out.",
}
"""``heteropd:kv_digests_NAME_total`` and what it counts."""


class DigestStats(NixlKVConnectorStats):
    """NixlConnector's, and the digest's counts as lists of ones, as the others are."""

    def reset(self) -> None:
        super().reset()
        self.data |= {_key(name): [] for name in COUNTERS}

    def is_empty(self) -> bool:
        return super().is_empty() and not any(self.data[_key(name)] for name in COUNTERS)

    def count(self, name: str) -> None:
        """One more of what COUNTERS calls ``name``."""
        self.data[_key(name)].append(1)


class DigestPromMetrics(NixlPromMetrics):
    """NixlConnector's metrics and the digest's counters."""

    def __init__(
        self,
        vllm_config: Any,
        metric_types: dict[Any, Any],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> None:
        super().__init__(vllm_config, metric_types, labelnames, per_engine_labelvalues)
        self._digests = {
            name: create_metric_per_engine(
                self._counter_cls(
                    name=f"heteropd:kv_digests_{name}", documentation=text, labelnames=labelnames
                ),
                per_engine_labelvalues,
            )
            for name, text in COUNTERS.items()
        }

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        super().observe(transfer_stats_data, engine_idx)
        for name, counter in self._digests.items():
            counter[engine_idx].inc(len(transfer_stats_data[_key(name)]))


def _key(name: str) -> str:
    return f"digests_{name}"
