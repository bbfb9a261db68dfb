"""Which prompts are sent: lengths that sit on the block boundaries, and texts that read every block back.

A prompt is a row of random words whose last few repeat a passage from earlier in it. A language model then
continues the passage, so its next tokens depend on the KV of the blocks that hold the passage, strongly
enough to be seen above bfloat16 noise. The passages of the probes are spread over all blocks.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from heteropd.plan.model import KVGeometry

_GOLDEN = 0.6180339887498949
_SHORTEST = 4
_UNEVEN = 7  # no block ends there
_STRIDE = 16  # what every block size in use divides or is divided by


@dataclass(frozen=True)
class Probe:
    """A prompt of exactly ``len(tokens)`` tokens; ``recalls`` is where the repeated passage was first."""

    index: int
    tokens: tuple[int, ...]
    recalls: int

    def blocks(self, size: int) -> int:
        return -(-len(self.tokens) // size)


def block_sizes(prefill: KVGeometry, decode: KVGeometry) -> list[int]:
    """Every block size in which somebody counts, ascending: both caches and both wires."""
    return sorted({prefill.block_size, prefill.wire_block_size, decode.block_size, decode.wire_block_size})


def lengths(sizes: Sequence[int], least: int, budget: int, longest: int, beyond: int = 0) -> list[int]:
    """Prompt lengths in tokens, ascending and distinct, none above ``longest``; one is about ``beyond``.

    The decode engine computes the last prompt token itself, so a last block that holds only that token
    proves nothing: b+2 is asked for beside b+1. The lengths that the block sizes call for are always
    there; short ones are added until there are ``least``, and on while the sum of all is within ``budget``.
    """
    large = max(sizes)
    wanted = {size + off for size in sizes for off in (-1, 0, 1, 2)}
    wanted |= {2 * large, 2 * large + 2, 2 * large + _STRIDE + 3}
    wanted |= {max(beyond, 4 * large) + _UNEVEN} if beyond else set()
    chosen = {length for length in wanted if _SHORTEST <= length <= longest}
    strides = [k * _STRIDE + off for k in range(1, longest // _STRIDE + 1) for off in (-1, 0, 1, 2)]
    for extra in [*strides, *range(_SHORTEST, longest + 1)]:
        if len(chosen) >= least and sum(chosen) + extra > budget:
            break
        if extra <= longest:
            chosen.add(extra)
    return sorted(chosen)


def longer_lengths(chunk: int, longest: int, known: int) -> list[int]:
    """Lengths that cost more: just beyond what an engine computes in one step, and the longest prompt that it
    takes, where these are beyond ``known``."""
    return [length for length in (chunk + _UNEVEN, longest) if known < length <= longest]


def build(sizes: Sequence[int], pool: Sequence[int], seed: str) -> list[Probe]:
    """One probe per length in ``sizes``, from the token ids in ``pool``; another seed gives other prompts.

    The first tokens are all different, so that no prompt is another's prefix, not even by one token.
    """
    rng = random.Random(seed)  # noqa: S311 - prompts, not secrets
    openers = rng.sample(list(pool), len(sizes))
    return [_probe(index, size, openers[index], pool, rng) for index, size in enumerate(sizes)]


def _probe(index: int, size: int, opener: int, pool: Sequence[int], rng: random.Random) -> Probe:
    passage = min(6, size // 3)
    tokens = [opener, *rng.choices(list(pool), k=size - 1)]
    room = size - 2 * passage
    start = int(((index * _GOLDEN) % 1.0) * (room + 1))
    tokens[size - passage :] = tokens[start : start + passage]
    return Probe(index, tuple(tokens), start)
