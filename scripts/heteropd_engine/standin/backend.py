# ruff: noqa: PLR0913, PLR0917, ARG002 - the signatures are vLLM's
"""A CPU attention backend whose KV blocks are plain ``[block, head, token, K|V]`` in the declared layout.

vLLM's own CPU attention keeps a private format inside each block, which a peer with another block size
cannot read. This one keeps what accelerators keep, in memory order ``[head, token, K|V]`` (HND, LBHNC) or
``[token, head, K|V]`` (NHD, LBNHC), and always attends to what it reads back from those blocks.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch.nn.functional import scaled_dot_product_attention
from vllm.utils.torch_utils import is_quantized_kv_cache
from vllm.v1.attention.backend import (
    AttentionBackend,
    AttentionImpl,
    AttentionMetadataBuilder,
    AttentionType,
    CommonAttentionMetadata,
    MultipleOf,
)
from vllm.v1.kv_cache_interface import KVCacheLayout

from heteropd_engine.standin.batch import Batch, plan_batch
from heteropd_engine.standin.blocks import gather

BLOCK_SIZE_STEP = 16


class Unsupported(ValueError):
    """The model or the engine asks for something that the stand-in does not do."""

    def __init__(self, what: str) -> None:
        super().__init__(f"heteropd stand-in: {what} is not supported; serve a model without it")


class StandinBackend(AttentionBackend):
    """Takes the place and the name of ``CPU_ATTN``: vLLM's CPU platform knows no other."""

    forward_includes_kv_cache_update = False
    supported_dtypes: ClassVar[list[torch.dtype]] = [torch.float32, torch.bfloat16, torch.float16]
    supported_kv_cache_dtypes: ClassVar[list[Any]] = ["auto", "float16", "bfloat16"]

    @staticmethod
    def get_name() -> str:
        return "CPU_ATTN"

    @staticmethod
    def get_supported_kernel_block_sizes() -> list[int | MultipleOf]:
        return [MultipleOf(BLOCK_SIZE_STEP)]

    @classmethod
    def supported_kv_cache_layouts(cls) -> tuple[KVCacheLayout, ...]:
        return (KVCacheLayout.LBHNC, KVCacheLayout.LBNHC)

    @staticmethod
    def get_impl_cls() -> type[StandinImpl]:
        return StandinImpl

    @staticmethod
    def get_builder_cls() -> type[StandinMetadataBuilder]:
        return StandinMetadataBuilder


class RefusedMLABackend(StandinBackend):
    """Registered in place of the CPU's MLA backends, whose blocks the stand-in does not know."""

    @staticmethod
    def get_impl_cls() -> type[StandinImpl]:
        raise Unsupported("multi-head latent attention (MLA)")


class StandinMetadataBuilder(AttentionMetadataBuilder[Batch]):
    """Works out, once a step, what every layer then needs."""

    def __init__(
        self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device
    ) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        self.dtype = vllm_config.model_config.dtype
        self.block_size = kv_cache_spec.block_size

    def build(
        self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata, fast_build: bool = False
    ) -> Batch:
        common = common_attn_metadata
        if common.causal is not True:
            raise Unsupported("attention that is not causal")
        starts = common.query_start_loc_cpu[: common.num_reqs + 1].tolist()
        contexts = common.seq_lens[: common.num_reqs].tolist()
        return plan_batch(starts, contexts, common.block_table_tensor, self.block_size, self.dtype)


class StandinImpl(AttentionImpl[Batch]):
    """Writes K and V into the blocks, gathers them back, and attends with torch."""

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        scale: float,
        num_kv_heads: int | None = None,
        alibi_slopes: list[float] | None = None,
        sliding_window: int | None = None,
        kv_cache_dtype: str = "auto",
        logits_soft_cap: float | None = None,
        attn_type: str = AttentionType.DECODER,
        kv_sharing_target_layer_name: str | None = None,
        sinks: torch.Tensor | None = None,
    ) -> None:
        unsupported = {
            "ALiBi": alibi_slopes is not None,
            f"sliding-window attention ({sliding_window})": sliding_window is not None,
            f"a soft cap on logits ({logits_soft_cap})": bool(logits_soft_cap),
            f"a quantized KV cache ({kv_cache_dtype})": is_quantized_kv_cache(kv_cache_dtype),
            f"attention type {attn_type}": attn_type != AttentionType.DECODER,
            "KV cache shared between layers": kv_sharing_target_layer_name is not None,
            "attention sinks": sinks is not None,
        }
        for what, wanted in unsupported.items():
            if wanted:
                raise Unsupported(what)
        self.num_heads = num_heads
        self.head_size = head_size
        self.scale = float(scale)
        self.num_kv_heads = num_kv_heads or num_heads
        self.group_size = self.num_heads // self.num_kv_heads
        self.kv_cache_dtype = kv_cache_dtype

    def do_kv_cache_update(
        self,
        layer: Any,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        slot_mapping: torch.Tensor,
    ) -> None:
        """Store ``key`` and ``value`` [token, head, size] at ``slot_mapping`` [token]."""
        # Padding has slot -1; block 0 is vLLM's null block, which nobody reads.
        slots = slot_mapping.clamp(min=0)
        count, block_size = slots.shape[0], kv_cache.shape[2]
        fresh = torch.cat((key[:count], value[:count]), dim=-1)
        kv_cache[slots // block_size, :, slots % block_size] = fresh.to(kv_cache.dtype)

    def forward(
        self,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: Batch | None,
        output: torch.Tensor,
        output_scale: torch.Tensor | None = None,
        output_block_scale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend: ``query``, ``output`` [token, head, size]; ``kv_cache`` [block, head, token, 2 * size]."""
        if output_scale is not None or output_block_scale is not None:
            raise Unsupported("quantized attention output")
        if attn_metadata is None:  # vLLM's profiling run
            return output
        query = query.view(-1, self.num_kv_heads, self.group_size, self.head_size)
        out = output.view(-1, self.num_kv_heads, self.group_size, self.head_size)
        for group in attn_metadata.decodes:
            keys, values = gather(kv_cache, group.blocks, self.head_size)
            # A group's query heads stand in for query tokens, so that K and V are read once for all.
            out[group.tokens] = scaled_dot_product_attention(
                query[group.tokens], keys, values, attn_mask=group.mask, scale=self.scale
            )
        for one in attn_metadata.prefills:
            keys, values = gather(kv_cache, one.blocks, self.head_size)
            shape = (self.num_kv_heads, self.group_size, one.context, self.head_size)
            attended = scaled_dot_product_attention(
                query[one.start : one.stop].permute(1, 2, 0, 3),
                keys[0, :, None, : one.context].expand(shape),
                values[0, :, None, : one.context].expand(shape),
                attn_mask=one.mask,
                is_causal=one.mask is None,
                scale=self.scale,
            )
            out[one.start : one.stop] = attended.permute(2, 0, 1, 3)
        return output
