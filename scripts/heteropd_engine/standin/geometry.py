"""Arithmetic of an agreed block size: what a converting prefill shows its peer. Pure, no torch, no vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIRE_LAYOUT = "LBHNC"
"""Memory order on the wire, in vLLM's words: HND."""


@dataclass(frozen=True)
class Presented:
    """A KV cache's geometry as a peer is told it: tokens a block; bytes of a block, per layer."""

    block_size: int
    num_blocks: int
    block_lens: list[int]
    block_strides: list[int]
    region_num_blocks: list[int] | None


def agreed_ratio(block_size: int, agreed: int) -> int:
    """How many agreed-size blocks one own block makes. Raises ValueError when they do not fit."""
    if agreed < 1 or block_size % agreed:
        raise ValueError(f"agreed_block_size {agreed} does not divide the engine's block size {block_size}")
    return block_size // agreed


def present(own: Presented, agreed: int) -> Presented:
    """The same memory, described in blocks of ``agreed`` tokens. Raises ValueError when it cannot be."""
    ratio = agreed_ratio(own.block_size, agreed)
    if own.block_lens != own.block_strides:
        raise ValueError("KV blocks with gaps between them cannot be shown in smaller blocks")
    return Presented(
        block_size=agreed,
        num_blocks=own.num_blocks * ratio,
        block_lens=[length // ratio for length in own.block_lens],
        block_strides=[stride // ratio for stride in own.block_strides],
        region_num_blocks=None
        if own.region_num_blocks is None
        else [n * ratio for n in own.region_num_blocks],
    )


def expand_block_ids(block_ids: Sequence[int], ratio: int, tokens: int, agreed: int) -> list[int]:
    """Agreed-size ids of the blocks that hold ``tokens`` tokens, in token order.

    The tail of the last own block is left out: a decode pairs block lists from their end and would
    otherwise read the wrong ones.
    """
    wanted = -(-tokens // agreed)
    return [own * ratio + part for own in block_ids for part in range(ratio)][:wanted]


def blocks_with_tokens(block_ids: Sequence[int], block_size: int, tokens: int) -> list[int]:
    """The first own blocks, those that hold ``tokens`` tokens."""
    return list(block_ids[: -(-tokens // block_size)])
