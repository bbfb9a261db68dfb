"""NIXL on a stand-in, in either role. Loaded with ``"kv_connector_module_path"``, the name of this module.

``StandinConnector`` stands in for a Gaudi prefill (vllm-gaudi #867): the engine keeps NHD blocks of its own
size; when a prompt is done, its blocks are rewritten in place to HND blocks of ``agreed_block_size`` tokens,
and the decode is told that geometry only. ``StandinDecodeConnector`` is vLLM's own, given caches in the shape
that its conversion on receive expects.
"""

from __future__ import annotations

from typing import Any

import msgspec
import torch
from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata, KVConnectorRole
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.connector import NixlPullConnector
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.metadata import (
    NixlAgentMetadata,
    NixlConnectorMetadata,
    NixlHandshakePayload,
)
from vllm.logger import init_logger

from heteropd_engine.prompts import PromptTracker
from heteropd_engine.standin.blocks import as_vllm_receives, convert_to_hnd
from heteropd_engine.standin.geometry import (
    WIRE_LAYOUT,
    Presented,
    agreed_ratio,
    blocks_with_tokens,
    expand_block_ids,
    present,
)

logger = init_logger(__name__)

AGREED_KEY = "agreed_block_size"
PRESENTED_FIELDS = ("block_size", "num_blocks", "block_lens", "block_strides", "region_num_blocks")


class StandinMetadata(NixlConnectorMetadata):
    """What the scheduler tells the worker for a step, with the blocks of prompts that it completes."""

    def __init__(self, stock: NixlConnectorMetadata, blocks_to_convert: list[int]) -> None:
        super().__init__()
        self.__dict__.update(stock.__dict__)
        self.blocks_to_convert = blocks_to_convert


class StandinConnector(NixlPullConnector):
    """A pull connector for a converting prefill. Raises ValueError at start where KV would be corrupted."""

    def __init__(self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: Any) -> None:
        self._agreed = _checked_agreed(vllm_config)
        self._ratio = agreed_ratio(vllm_config.cache_config.block_size, self._agreed)
        self._own_block_size: int = vllm_config.cache_config.block_size
        self._prompts = PromptTracker()
        super().__init__(vllm_config, role, kv_cache_config)
        if len(kv_cache_config.kv_cache_groups) != 1:
            raise ValueError("heteropd stand-in: a model with several KV cache groups is not supported")
        logger.info_once("KV cache is converted on save to HND blocks of %d tokens", self._agreed)

    # Scheduler side

    def on_new_request(self, request: Any) -> None:
        """Decline to hand over a request that would go on writing into converted blocks."""
        params = request.kv_transfer_params
        if params and params.get("do_remote_decode") and request.max_tokens != 1:
            logger.error(
                "%s: max_tokens is %s where a prefill must get 1; its KV will not be handed over",
                request.request_id,
                request.max_tokens,
            )
            request.kv_transfer_params = None
        super().on_new_request(request)

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        params = request.kv_transfer_params
        if params and params.get("do_remote_decode"):
            self._prompts.follow(request)
        super().update_state_after_alloc(request, blocks, num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> KVConnectorMetadata:
        """Add the blocks of prompts whose last chunk is in this step."""
        completed = self._prompts.step(scheduler_output)
        size = self._own_block_size
        blocks = [
            block for prompt in completed for block in blocks_with_tokens(prompt.blocks, size, prompt.tokens)
        ]
        return StandinMetadata(super().build_connector_meta(scheduler_output), blocks)

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        return self._handed_over(request, *super().request_finished(request, block_ids))

    def request_finished_all_groups(
        self, request: Any, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        return self._handed_over(request, *super().request_finished_all_groups(request, block_ids))

    def _handed_over(
        self, request: Any, delay_free: bool, params: dict[str, Any] | None
    ) -> tuple[bool, dict[str, Any] | None]:
        self._prompts.forget(request.request_id)
        if params and params.get("remote_block_ids"):
            tokens = params["remote_num_tokens"]
            params["remote_block_ids"] = [
                expand_block_ids(group, self._ratio, tokens, self._agreed)
                for group in params["remote_block_ids"]
            ]
        return delay_free, params

    # Worker side

    def get_handshake_metadata(self) -> NixlHandshakePayload | None:
        """The stock metadata, in the agreed geometry."""
        payload = super().get_handshake_metadata()
        if payload is None:
            return None
        assert isinstance(payload, NixlHandshakePayload)
        meta = msgspec.msgpack.decode(payload.agent_metadata_bytes, type=NixlAgentMetadata)
        shown = present(Presented(**{name: getattr(meta, name) for name in PRESENTED_FIELDS}), self._agreed)
        for name in PRESENTED_FIELDS:
            setattr(meta, name, getattr(shown, name))
        meta.kv_cache_layout = WIRE_LAYOUT
        meta.physical_blocks_per_logical_kv_block = 1
        return NixlHandshakePayload(
            compatibility_hash=payload.compatibility_hash, agent_metadata_bytes=msgspec.msgpack.encode(meta)
        )

    def wait_for_save(self) -> None:
        """Convert what this step completed: after its forward pass, before its outputs leave the engine."""
        super().wait_for_save()
        meta = self._connector_metadata
        assert isinstance(meta, StandinMetadata)
        if not meta.blocks_to_convert:
            return
        assert self.connector_worker is not None
        blocks = torch.tensor(meta.blocks_to_convert)
        for cache in self.connector_worker.device_kv_caches.values():
            convert_to_hnd(cache, blocks, self._agreed)


class StandinDecodeConnector(NixlPullConnector):
    """A pull connector for a decode, whose conversion on receive sees caches as an accelerator keeps them."""

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Register as ever, and hand caches of an HPU's shape to what vLLM does with received blocks."""
        super().register_kv_caches(kv_caches)
        worker = self.connector_worker
        assert worker is not None
        # Takes the place of the worker's cached property.
        worker._attention_kv_caches = [as_vllm_receives(cache) for cache in worker._attention_kv_caches]


def _checked_agreed(vllm_config: VllmConfig) -> int:
    transfer = vllm_config.kv_transfer_config
    assert transfer is not None
    agreed = transfer.get_from_extra_config(AGREED_KEY, None)
    if agreed is None:
        raise ValueError(
            f"StandinConnector needs kv_connector_extra_config.{AGREED_KEY}: the GCD of both block sizes"
        )
    if transfer.kv_role == "kv_consumer":
        raise ValueError("StandinConnector converts on a prefill; a decode takes NixlConnector")
    if vllm_config.cache_config.enable_prefix_caching:
        # A converted block must never be read again by this engine (vllm #30448: "we should crash").
        raise ValueError(
            "StandinConnector converts KV in place: start this engine with --no-enable-prefix-caching"
        )
    return int(agreed)
