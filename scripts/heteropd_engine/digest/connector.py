"""A pull connector that digests the KV it hands over, and checks the KV it receives.

The prefill digests a prompt's blocks after the forward pass that completes it, before anything converts or
frees them; the digest travels in ``kv_transfer_params``. The decode digests what has arrived after vLLM's own
conversion and before the request is scheduled. In mode ``enforce`` a prompt whose digests differ or cannot be
compared fails as a lost transfer does: the client gets an error. ``observe`` counts and logs only.

    "kv_connector": "DigestConnector", "kv_connector_module_path": "heteropd_engine.digest.connector",
    "kv_connector_extra_config": {"digest": "enforce", "digest_sample": 1.0}
"""

from __future__ import annotations

from typing import Any

from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorMetadata,
    KVConnectorRole,
    KVConnectorTransferResults,
    KVConnectorWorkerMetadata,
)
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.connector import NixlPullConnector
from vllm.logger import init_logger

from heteropd_engine.digest.scheduler import DigestScheduler
from heteropd_engine.digest.stats import DigestPromMetrics, DigestStats
from heteropd_engine.digest.worker import DigestWorker

logger = init_logger(__name__)

MODES = ("observe", "enforce")


class KVDigest(NixlPullConnector):
    """The digest for any pull connector: a base class to stand before the connector's own.

    Raises ValueError at start for settings that it does not know, and for models whose KV it cannot digest.
    """

    def __init__(self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: Any) -> None:
        self._digest_mode, sample = _settings(vllm_config)
        parallel = vllm_config.parallel_config
        if len(kv_cache_config.kv_cache_groups) != 1 or vllm_config.model_config.use_mla:
            raise ValueError("digest: models with MLA or several KV cache groups are not supported")
        if parallel.pipeline_parallel_size > 1 or parallel.decode_context_parallel_size > 1:
            raise ValueError("digest: pipeline and context parallelism are not supported; leave digest off")
        self._digest_scheduler = DigestScheduler(sample)
        super().__init__(vllm_config, role, kv_cache_config)
        logger.info_once("KV digest: %s, %g of all prompts", self._digest_mode, sample)

    # Scheduler side

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        self._digest_scheduler.allocated(request, blocks, num_external_tokens)
        super().update_state_after_alloc(request, blocks, num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> KVConnectorMetadata:
        meta = super().build_connector_meta(scheduler_output)
        meta.digest_tasks = self._digest_scheduler.step(scheduler_output)
        return meta

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        delay_free, params = super().request_finished(request, block_ids)
        self._digest_scheduler.finished(request.request_id, params)
        return delay_free, params

    def request_finished_all_groups(
        self, request: Any, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        delay_free, params = super().request_finished_all_groups(request, block_ids)
        self._digest_scheduler.finished(request.request_id, params)
        return delay_free, params

    def update_connector_output(self, connector_output: Any) -> None:
        super().update_connector_output(connector_output)
        self._digest_scheduler.collect(connector_output.kv_connector_worker_meta)

    # Worker side

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        super().register_kv_caches(kv_caches)
        worker, config = self.connector_worker, self._vllm_config
        assert worker is not None
        worker.xfer_stats = DigestStats()
        heads = config.model_config.get_total_num_kv_heads()
        ratio = worker._physical_blocks_per_logical_kv_block
        self._digest_worker = DigestWorker(
            kv_caches,
            worker.tp_rank * heads // config.parallel_config.tensor_parallel_size,
            expand=lambda blocks: list(worker._logical_to_kernel_block_ids((blocks,), ratio)[0]),
            stats=lambda: worker.xfer_stats,
        )

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        self._digest_worker.expect(self._digest_tasks().check)
        super().start_load_kv(forward_context, **kwargs)

    def wait_for_save(self) -> None:
        """Digest what this step completed: after its forward pass, before a subclass converts it."""
        self._digest_worker.make(self._digest_tasks().make)
        super().wait_for_save()

    def build_connector_worker_meta(self) -> KVConnectorWorkerMetadata | None:
        return self._digest_worker.take_made()

    def get_transfer_results(self, finished_req_ids: set[str]) -> KVConnectorTransferResults:
        """What has arrived, less what must not be used."""
        results = super().get_transfer_results(finished_req_ids)
        arrived = results.finished_recving - results.failed_recving
        self._digest_worker.forget(results.failed_recving)
        results.failed_recving |= self._digest_worker.check(arrived, self._digest_mode)
        return results

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> DigestStats:
        return DigestStats() if data is None else DigestStats(data=data)

    @classmethod
    def build_prom_metrics(cls, *args: Any) -> DigestPromMetrics:
        return DigestPromMetrics(*args)

    def _digest_tasks(self) -> Any:
        return self._get_connector_metadata().digest_tasks


class DigestConnector(KVDigest):
    """vLLM's pull connector with the digest."""


def _settings(vllm_config: VllmConfig) -> tuple[str, float]:
    transfer = vllm_config.kv_transfer_config
    assert transfer is not None
    mode = transfer.get_from_extra_config("digest", None)
    if mode not in MODES:
        raise ValueError(f"kv_connector_extra_config.digest is {mode!r}; say {' or '.join(MODES)}")
    sample = float(transfer.get_from_extra_config("digest_sample", 1.0))
    if not 0 < sample <= 1:
        raise ValueError(
            f"kv_connector_extra_config.digest_sample is {sample}; say a part of 1, such as 0.01"
        )
    return mode, sample
