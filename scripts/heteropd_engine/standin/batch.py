"""One step's requests, sorted into what the stand-in's attention computes together.

Needs torch, not vLLM.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class DecodeGroup:
    """Requests with one new token each and contexts of like length, attended in one go.

    ``tokens`` [request]: where each request's token is in the step; ``blocks`` [request, block]: its block
    ids, filled up with block 0; ``mask`` [request, 1, 1, block * size]: 0 to attend, -inf past the context.
    """

    tokens: torch.Tensor
    blocks: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class PrefillChunk:
    """One request with new tokens ``start`` to ``stop`` of the step, the last of its ``context`` tokens.

    ``blocks`` [1, block]; ``mask`` [new token, context], or None when the context is all new (plain causal).
    """

    start: int
    stop: int
    context: int
    blocks: torch.Tensor
    mask: torch.Tensor | None


@dataclass
class Batch:
    """A step: decodes in groups, prefill chunks one by one."""

    decodes: list[DecodeGroup] = field(default_factory=list)
    prefills: list[PrefillChunk] = field(default_factory=list)


def plan_batch(
    starts: Sequence[int],
    contexts: Sequence[int],
    block_table: torch.Tensor,
    block_size: int,
    dtype: torch.dtype,
) -> Batch:
    """Sort one step's requests.

    ``starts`` [request + 1]: first new token of each request in the step; ``contexts`` [request]: tokens of
    each request, the new ones included; ``block_table`` [request, block]: block ids in token order.
    """
    batch = Batch()
    like: dict[int, list[int]] = defaultdict(list)
    for request, context in enumerate(contexts):
        start, stop = starts[request], starts[request + 1]
        if stop - start == 1:
            # Padding costs at most a factor of two, and the number of groups stays logarithmic.
            like[blocks_for(context, block_size).bit_length()].append(request)
        elif stop > start:
            blocks = block_table[request : request + 1, : blocks_for(context, block_size)]
            mask = _chunk_mask(stop - start, context, dtype) if stop - start < context else None
            batch.prefills.append(PrefillChunk(start, stop, context, blocks, mask))
    for requests in like.values():
        lengths = [contexts[request] for request in requests]
        width = blocks_for(max(lengths), block_size)
        rows = torch.tensor(requests)
        # The rows' tails beyond their context hold ids of earlier requests; the mask hides what is there.
        blocks = block_table[rows, :width]
        mask = _length_mask(lengths, width * block_size, dtype)
        tokens = torch.tensor([starts[request] for request in requests])
        batch.decodes.append(DecodeGroup(tokens, blocks, mask))
    return batch


def blocks_for(tokens: int, block_size: int) -> int:
    """How many blocks of ``block_size`` tokens hold ``tokens`` tokens."""
    return -(-tokens // block_size)


def _chunk_mask(new: int, context: int, dtype: torch.dtype) -> torch.Tensor:
    hidden = torch.ones(new, context, dtype=torch.bool).triu(context - new + 1)
    return torch.zeros(new, context, dtype=dtype).masked_fill_(hidden, float("-inf"))


def _length_mask(lengths: Sequence[int], width: int, dtype: torch.dtype) -> torch.Tensor:
    hidden = torch.arange(width)[None] >= torch.tensor(lengths)[:, None]
    return torch.zeros(len(lengths), width, dtype=dtype).masked_fill_(hidden, float("-inf"))[:, None, None]
