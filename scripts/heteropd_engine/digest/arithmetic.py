"""The arithmetic of a KV digest, in integers, on the device that holds the KV. Needs torch, not vLLM.

A token's K and V in one head of one layer are bytes x_j, signed, K before V::

    s_i = Σ_j w_ij · x_j                 eight sums; w_ij pseudo-random signed bytes, from the key
    y = Σ_i c_i · (s_2i + 2^32 s_2i+1)   mod 2^64; four pseudo-random 64-bit numbers c_i, from the key
    m = mix(y + p(layer, head, token))   mix: a bijection of 64-bit integers; p from the key

Sums of m are compared: over tokens, one for each layer and head; over layers and heads, one for each token.
A sum does not know in which order it was made: layout, block size and ranks do not change it. Every m knows
its place, so K and V, tokens, blocks, heads and layers that changed places do.

The sums s are a product of matrices of bytes, which processors and GPUs have instructions for; weighing the
words in 64-bit numbers took a CPU twice as long. docs/digest.md says how likely two different caches
are to agree. torch's integers wrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_STEP = 0x9E3779B97F4A7C15 - 2**64
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
_SUMS = 8
_FEWEST_ROWS = 32
"""CUDA's product of matrices of bytes takes no fewer than 17."""
_LARGEST_BYTES = 128 << 20
_SHARE_OF_CACHE = 100
"""What is hashed at a time takes at most this part of the KV cache's memory, or one block's."""


@dataclass(frozen=True)
class Digest:
    """What two sides compare.

    ``heads`` int64 [layer, head] decides. ``tokens`` int32 [token], the lower half of a sum, only says where.
    """

    heads: torch.Tensor
    tokens: torch.Tensor

    def cpu(self) -> Digest:
        """On the CPU, once the device that makes it is done."""
        return Digest(self.heads.cpu(), self.tokens.cpu())


@dataclass(frozen=True)
class Difference:
    """Where two digests differ: the first layer, its first head, and the first token of all that differ.

    ``token`` is None on a rank that compares some of the heads; ``layer`` and ``head`` are None where only
    the later tokens of a prompt are compared.
    """

    layer: int | None
    head: int | None
    token: int | None


def digest(
    caches: Sequence[torch.Tensor], blocks: Sequence[int], tokens: int, key: int, first_head: int = 0
) -> Digest:
    """The digest of a prompt's first ``tokens`` tokens, on the caches' device; nothing here waits for that.

    ``caches``: one for each layer, [block, head, token, K|V] with any strides; ``blocks``: the prompt's, in
    token order; ``key``: 64 bits, signed; ``first_head``: the model's number of these caches' first KV head.
    Raises ValueError for too few blocks.
    """
    _, heads, size, content = caches[0].shape
    if len(blocks) * size < tokens:
        raise ValueError(f"{len(blocks)} blocks of {size} tokens do not hold {tokens}")
    device, width = caches[0].device, content * caches[0].element_size()
    needed = torch.tensor(list(blocks[: -(-tokens // size)]), pin_memory=device.type == "cuda")
    rows = needed.to(device, non_blocking=True)
    # Half for bytes, their sums and what weighs these; half for y, p, and what m needs on its way.
    memory = min(sum(cache.nbytes for cache in caches) // _SHARE_OF_CACHE, _LARGEST_BYTES) // 2
    at_once = max(1, memory // (heads * size * (width + 4 * _SUMS + 4 * 8)))
    together = max(1, memory // max(1, len(rows) * heads * size * 6 * 8))
    hasher = _Hasher(caches, rows, at_once, key)
    of_heads, of_tokens = [], torch.zeros(len(rows), size, dtype=torch.int64, device=device)
    for first in range(0, len(caches), together):
        hashed = hasher.hashed(slice(first, first + together))
        marked = mix(hashed.add_(_places(first, first_head, hashed.shape, key, device)))
        marked[:, -1:, :, tokens - (len(rows) - 1) * size :] = 0
        of_heads.append(marked.sum((1, 3)))
        of_tokens += marked.sum((0, 2))
    return Digest(torch.cat(of_heads), of_tokens.flatten()[:tokens].to(torch.int32))


def compare(own: Digest, shown: Digest, first_head: int = 0, first_token: int = 0) -> Difference | None:
    """Where ``own``, of the heads from ``first_head`` on, differs from a peer's; None where it does not.

    ``shown`` is of all heads. Tokens before ``first_token`` may differ: then the sums of each later token
    decide, which are those of all heads. Raises ValueError where the two cannot be compared.
    """
    layers, heads = own.heads.shape
    theirs = shown.heads[:, first_head : first_head + heads]
    if theirs.shape != own.heads.shape:
        raise ValueError(f"{layers} layers of {heads} heads here, {tuple(shown.heads.shape)} there")
    if own.tokens.shape != shown.tokens.shape:
        raise ValueError(f"{len(own.tokens)} tokens here, {len(shown.tokens)} there")
    wrong = (own.heads != theirs).nonzero()
    if not len(wrong):
        return None
    layer, head = wrong[0].tolist()
    apart = [
        token for token in (own.tokens != shown.tokens).nonzero().flatten().tolist() if token >= first_token
    ]
    all_heads = heads == shown.heads.shape[1]
    if not first_token:
        return Difference(layer, first_head + head, apart[0] if all_heads and apart else None)
    if not all_heads:
        raise ValueError(
            f"the first {first_token} tokens are this engine's own, and ranks see some heads only"
        )
    return Difference(None, None, apart[0]) if apart else None


def join(ranks: Sequence[Digest]) -> Digest:
    """The digest of all heads from those of ranks that hold them in turn."""
    tokens = torch.stack([rank.tokens for rank in ranks]).sum(0, dtype=torch.int32)
    return Digest(torch.cat([rank.heads for rank in ranks], dim=1), tokens)


def mix(numbers: torch.Tensor) -> torch.Tensor:
    """SplitMix64's finalizer: a bijection of 64-bit integers; each output bit depends on every input bit."""
    first, second = _MULTIPLIERS
    mixed = (numbers ^ _shifted(numbers, 30)).mul_(first)
    mixed = mixed.bitwise_xor_(_shifted(mixed, 27)).mul_(second)
    return mixed.bitwise_xor_(_shifted(mixed, 31))


class _Hasher:
    """y of a prompt's blocks, some blocks of some layers at once, in room that is used again."""

    def __init__(self, caches: Sequence[torch.Tensor], rows: torch.Tensor, at_once: int, key: int) -> None:
        _, heads, size, content = caches[0].shape
        self._caches, self._rows = [cache.view(_WORDS[cache.element_size()]) for cache in caches], rows
        blocks = max(1, min(at_once, len(rows)))
        self._shape = (min(at_once // blocks, len(caches)), blocks, heads, size)
        width, room = content * caches[0].element_size(), max(_FEWEST_ROWS, math.prod(self._shape))
        numbers = mix(key + _STEP * torch.arange(1, width + _SUMS // 2 + 1, device=rows.device))
        self._weights, self._factors = numbers[:width].view(torch.int8).view(width, _SUMS), numbers[width:]
        self._bytes = torch.empty(room, width, dtype=torch.int8, device=rows.device)
        self._sums = torch.empty(room, _SUMS, dtype=torch.int32, device=rows.device)

    def hashed(self, layers: slice) -> torch.Tensor:
        """y [layer, block, head, token] of some layers."""
        caches, (together, blocks, heads, size) = self._caches[layers], self._shape
        shape = (len(caches), len(self._rows), heads, size)
        hashed = torch.empty(shape, dtype=torch.int64, device=self._rows.device)
        for layer in range(0, len(caches), together):
            for block in range(0, len(self._rows), blocks):
                place = (slice(layer, layer + together), slice(block, block + blocks))
                self._hash(caches[place[0]], self._rows[place[1]], hashed[place])
        return hashed

    def _hash(self, caches: Sequence[torch.Tensor], rows: torch.Tensor, hashed: torch.Tensor) -> None:
        count = math.prod(self._shape)
        gathered = self._bytes[:count].view(caches[0].dtype).view(*self._shape, -1)
        for layer, cache in enumerate(caches):
            torch.index_select(cache, 0, rows, out=gathered[layer, : len(rows)])
        # All of the room, whatever is left in it: only a last piece does not fill it.
        torch._int_mm(self._bytes, self._weights, out=self._sums)
        pairs = self._sums[:count].view(torch.int64).view(*self._shape, -1)[: len(caches), : len(rows)]
        torch.sum(pairs * self._factors, -1, out=hashed)


def _places(
    first_layer: int, first_head: int, shape: torch.Size, key: int, device: torch.device
) -> torch.Tensor:
    """p [layer, block, head, token]."""
    layer, block, head, token = (torch.arange(count, device=device) for count in shape)
    heads = ((layer + first_layer) << 48)[:, None] + ((head + first_head) << 32)
    tokens = block[:, None, None] * shape[3] + token
    return mix(((heads[:, None, :, None] + tokens) * _STEP).add_(~key))


def _shifted(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """A logical shift to the right; torch's own repeats the sign."""
    return (numbers >> bits).bitwise_and_((1 << (64 - bits)) - 1)
