"""The arithmetic of a KV digest, in integers, on the device that holds the KV. Needs torch, not vLLM.

A token's K and V in one head of one layer are words x_j, their raw bits as signed integers, K before V::

    y = Σ_j w_j · x_j  mod 2^64            w_j pseudo-random 64-bit weights, from the key
    m = mix(y + p(layer, head, token))     mix: a bijection of 64-bit integers; p from the key

Sums of m are compared: over tokens, one for each layer and head; over layers and heads, one for each token.
A sum does not know in which order it was made: layout, block size and ranks do not change it. Every m knows
its place, so K and V, tokens, blocks, heads and layers that changed places do.

docs/digest.md says how likely two different caches are to agree. torch's integers wrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int32}
_STEP = 0x9E3779B97F4A7C15 - 2**64
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
_LARGEST_BYTES = 64 << 20
_SHARE_OF_CACHE = 100
"""What is hashed at a time takes at most this part of the KV cache's memory, or one block's."""


@dataclass(frozen=True)
class Digest:
    """What two sides compare, on the CPU.

    ``heads`` int64 [layer, head] decides. ``tokens`` int32 [token], the lower half of a sum, only says where.
    """

    heads: torch.Tensor
    tokens: torch.Tensor


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
    """The digest of a prompt's first ``tokens`` tokens.

    ``caches``: one for each layer, [block, head, token, K|V] with any strides; ``blocks``: the prompt's, in
    token order; ``key``: 64 bits, signed; ``first_head``: the model's number of these caches' first KV head.
    Raises ValueError for too few blocks.
    """
    _, heads, size, content = _words(caches[0]).shape
    if len(blocks) * size < tokens:
        raise ValueError(f"{len(blocks)} blocks of {size} tokens do not hold {tokens}")
    device = caches[0].device
    memory = min(sum(cache.nbytes for cache in caches) // _SHARE_OF_CACHE, _LARGEST_BYTES)
    # Words become 64-bit numbers; four numbers of each token in each head of each layer are held at once.
    at_once = max(1, memory // (heads * size * content * (caches[0].element_size() + 8)))
    together = max(1, memory // (max(1, len(blocks)) * size * heads * 4 * 8))
    rows = torch.tensor(list(blocks[: -(-tokens // size)]), device=device)
    weights = mix(key + _STEP * torch.arange(1, content + 1, device=device))
    of_heads, of_tokens = [], torch.zeros(tokens, dtype=torch.int64, device=device)
    for first in range(0, len(caches), together):
        layers = caches[first : first + together]
        # An accelerator takes longer to be told of a layer than for the arithmetic of a short prompt.
        several = 1 if device.type == "cpu" else max(1, at_once // max(1, len(rows)))
        hashed = _hashed(layers, rows, weights, at_once, several)[..., :tokens]
        marked = mix(hashed + _places(first, first_head, hashed.shape, key, device))
        of_heads.append(marked.sum(-1))
        of_tokens += marked.sum((0, 1))
    return Digest(torch.cat(of_heads).cpu(), of_tokens.cpu().to(torch.int32))


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


def _hashed(
    caches: Sequence[torch.Tensor], rows: torch.Tensor, weights: torch.Tensor, at_once: int, together: int
) -> torch.Tensor:
    """y [layer, head, token] of some layers: ``at_once`` blocks of ``together`` layers at a time."""
    _, heads, size, content = _words(caches[0]).shape
    hashed = torch.empty(len(caches), len(rows), heads, size, dtype=torch.int64, device=rows.device)
    # Room that is used again: fresh memory for each layer costs a CPU as much as the arithmetic.
    shape = (min(together, len(caches)), min(at_once, len(rows)), heads, size, content)
    gathered = torch.empty(shape, dtype=_words(caches[0]).dtype, device=rows.device)
    products = torch.empty(shape, dtype=torch.int64, device=rows.device)
    for first in range(0, len(caches), together):
        layers = slice(first, first + together)
        for start in range(0, len(rows), at_once):
            blocks = slice(start, start + at_once)
            part = (slice(len(caches[layers])), slice(len(rows[blocks])))
            for layer, cache in enumerate(caches[layers]):
                torch.index_select(_words(cache), 0, rows[blocks], out=gathered[layer, part[1]])
            products[part].copy_(gathered[part]).mul_(weights)
            torch.sum(products[part], -1, out=hashed[layers, blocks])
    return hashed.transpose(1, 2).flatten(2)


def _places(
    first_layer: int, first_head: int, shape: torch.Size, key: int, device: torch.device
) -> torch.Tensor:
    """p [layer, head, token]."""
    layers, heads, tokens = (torch.arange(count, device=device) for count in shape)
    rows = ((layers + first_layer) << 48)[:, None] + ((heads + first_head) << 32)
    return mix(((rows[..., None] + tokens) * _STEP).add_(~key))


def _words(cache: torch.Tensor) -> torch.Tensor:
    return cache.view(_WORDS[cache.element_size()])


def _shifted(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """A logical shift to the right; torch's own repeats the sign."""
    return (numbers >> bits).bitwise_and_((1 << (64 - bits)) - 1)
