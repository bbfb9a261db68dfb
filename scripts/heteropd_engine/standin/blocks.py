"""The bytes of KV blocks: reading them in either layout, and rewriting them to an agreed geometry.

A KV cache tensor is ``[block, head, token, K|V]`` by its shape; its strides say in which order heads and
tokens lie in memory. Needs torch, not vLLM.
"""

from __future__ import annotations

import torch


def in_memory_order(cache: torch.Tensor) -> torch.Tensor:
    """The same memory, contiguous: [block, head, token, K|V] for HND, [block, token, head, K|V] for NHD.

    Raises ValueError for a cache in neither order.
    """
    for view in (cache, cache.transpose(1, 2)):
        if view.is_contiguous():
            return view
    raise ValueError(
        f"KV cache of shape {tuple(cache.shape)}, strides {cache.stride()} is neither HND nor NHD"
    )


def as_vllm_receives(cache: torch.Tensor) -> torch.Tensor:
    """The same memory, [block, token, head, K|V]: the shape of an HPU's cache.

    vLLM 0.30 expects it of any cache where it converts the layout or block size of what it received, and
    where it zeroes what no transfer wrote (`post_process_device_kv_on_receive`).
    """
    return cache.transpose(1, 2)


def gather(cache: torch.Tensor, blocks: torch.Tensor, head_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """K and V of ``blocks`` [request, block]: each [request, head, block * token, head_size], one copy."""
    requests, width = blocks.shape
    _, heads, tokens, content = cache.shape
    memory = in_memory_order(cache)
    flat = blocks.reshape(-1)
    if memory.shape[1] == heads:
        rows = (blocks[:, None].long() * heads + torch.arange(heads)[:, None]).reshape(-1)
        together = memory.view(-1, tokens * content).index_select(0, rows)
        together = together.view(requests, heads, width * tokens, content)
    else:
        together = memory.view(-1, tokens * heads * content).index_select(0, flat)
        together = together.view(requests, width * tokens, heads, content).transpose(1, 2)
    return together[..., :head_size], together[..., head_size:]


def convert_to_hnd(cache: torch.Tensor, blocks: torch.Tensor, agreed: int) -> None:
    """Rewrite ``blocks`` [block] in place, each to ``size / agreed`` HND blocks of ``agreed`` tokens.

    Afterwards the tensor's own shape and strides no longer describe these blocks; only a peer that was
    told the agreed geometry may read them.
    """
    _, heads, tokens, content = cache.shape
    split = cache.index_select(0, blocks).reshape(-1, heads, tokens // agreed, agreed, content)
    wire = split.transpose(1, 2).reshape(blocks.shape[0], -1)
    in_memory_order(cache).view(cache.shape[0], -1).index_copy_(0, blocks, wire)
