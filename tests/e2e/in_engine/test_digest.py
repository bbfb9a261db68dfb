"""A KV digest is equal where the bytes are, whatever their order, and names the place where they are not.

Needs torch, pytest and hypothesis in one environment: the engine's, plus the kit's. Skipped elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")
hypothesis = pytest.importorskip("hypothesis")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from heteropd_engine.digest import arithmetic  # noqa: E402
from heteropd_engine.digest.arithmetic import Difference, Digest, compare, digest, join, mix  # noqa: E402

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float64]
BLOCKS = [1, 2, 16, 48, 64, 128]
KEYS = st.integers(-(2**63), 2**63 - 1)


@dataclass(frozen=True)
class Side:
    """How one engine keeps KV: its layout, tokens in a block, ranks that share the heads."""

    layout: str
    block_size: int
    ranks: int


@st.composite
def prompts(draw):
    """Raw KV [layer, head, token, K|V] as bytes of some dtype: any bits, NaNs and infinities too."""
    layers, heads, tokens, size = (draw(st.integers(1, most)) for most in (3, 4, 150, 4))
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    shape = (layers, heads, tokens, 2 * size * dtype.itemsize)
    fill = draw(st.sampled_from(["random", "zero", "like tokens"]))
    raw = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    raw = {"random": raw, "zero": torch.zeros_like(raw), "like tokens": raw[:, :, :1].expand(shape).clone()}[
        fill
    ]
    return raw.view(dtype)


@st.composite
def sides(draw, heads):
    ranks = draw(st.sampled_from([count for count in (1, 2, 4) if heads % count == 0]))
    return Side(draw(st.sampled_from(["HND", "NHD"])), draw(st.sampled_from(BLOCKS)), ranks)


def stored(kv, side: Side, seed: int):
    """The prompt in caches full of other bytes: the caches of each rank, and the prompt's blocks."""
    layers, heads, tokens, content = kv.shape
    generator = torch.Generator().manual_seed(seed)
    needed, size, share = -(-tokens // side.block_size), side.block_size, heads // side.ranks
    blocks = torch.randperm(needed + 3, generator=generator)[:needed]
    ranks = []
    for rank in range(side.ranks):
        shape = (needed + 3, share, size, content * kv.element_size())
        if side.layout == "NHD":
            shape = (shape[0], size, share, shape[3])
        caches = []
        for layer in range(layers):
            cache = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).view(kv.dtype)
            cache = cache if side.layout == "HND" else cache.transpose(1, 2)
            mine = kv[layer, rank * share : (rank + 1) * share]
            for place, block in enumerate(blocks.tolist()):
                part = mine[:, place * size : (place + 1) * size]
                cache[block, :, : part.shape[1]] = part
            caches.append(cache)
        ranks.append(caches)
    return ranks, blocks.tolist()


def digest_of(kv, side: Side, key: int, seed: int = 0) -> Digest:
    ranks, blocks = stored(kv, side, seed)
    share = kv.shape[1] // side.ranks
    return join([digest(caches, blocks, kv.shape[2], key, rank * share) for rank, caches in enumerate(ranks)])


def same(one: Digest, other: Digest) -> bool:
    return torch.equal(one.heads, other.heads) and torch.equal(one.tokens, other.tokens)


def bits(kv):
    return kv.contiguous().view(torch.uint8)


@given(st.data(), prompts(), KEYS)
@settings(max_examples=150, deadline=None)
def test_equal_bytes_have_one_digest_in_any_order(data, kv, key) -> None:
    one, other = (data.draw(sides(kv.shape[1])) for _ in range(2))
    ours, theirs = digest_of(kv, one, key, 1), digest_of(kv, other, key, 2)
    assert same(ours, theirs)
    assert compare(ours, theirs) is None
    assert ours.heads.shape == kv.shape[:2]
    assert ours.tokens.shape == kv.shape[2:3]


@given(st.data(), prompts(), KEYS)
@settings(max_examples=150, deadline=None)
def test_one_bit_is_seen_and_its_place_named(data, kv, key) -> None:
    one, other = (data.draw(sides(kv.shape[1])) for _ in range(2))
    spoilt = bits(kv).clone()
    place = [data.draw(st.integers(0, count - 1)) for count in spoilt.shape]
    spoilt[tuple(place)] ^= 1 << data.draw(st.integers(0, 7))
    ours, shown = digest_of(spoilt.view(kv.dtype), one, key), digest_of(kv, other, key)
    assert compare(ours, shown) == Difference(*place[:3])
    assert (ours.heads != shown.heads).sum() == 1
    assert (ours.tokens != shown.tokens).sum() == 1


MOVES = {
    "two tokens": lambda kv, i, j: kv[:, :, _swap(kv.shape[2], i, j)],
    "two heads": lambda kv, i, j: kv[:, _swap(kv.shape[1], i, j)],
    "two layers": lambda kv, i, j: kv[_swap(kv.shape[0], i, j)],
    "K and V": lambda kv, _i, _j: torch.cat(kv.chunk(2, dim=-1)[::-1], dim=-1),
    "two elements": lambda kv, i, j: kv[..., _swap(kv.shape[3], i, j)],
    "tokens and heads of a block": lambda kv, _i, _j: (
        kv.contiguous().reshape(kv.shape[0], kv.shape[2], kv.shape[1], kv.shape[3]).transpose(1, 2)
    ),
    "every token by one": lambda kv, _i, _j: kv.roll(1, 2),
    "a token of another prompt": lambda kv, i, _j: _zeroed(kv, i),
}


def _swap(count: int, one: int, other: int):
    order = list(range(count))
    one, other = one % count, other % count
    order[one], order[other] = order[other], order[one]
    return order


def _zeroed(kv, token: int):
    kv = kv.clone()
    kv[:, :, token % kv.shape[2]] = 0
    return kv


@given(st.data(), prompts(), KEYS, st.sampled_from(sorted(MOVES)))
@settings(max_examples=300, deadline=None)
def test_what_changed_places_differs_unless_its_bytes_are_equal(data, kv, key, move) -> None:
    numbers = st.integers(0, 200)
    moved = MOVES[move](
        kv.view(torch.uint8).view(kv.dtype), data.draw(numbers), data.draw(numbers)
    ).contiguous()
    side = data.draw(sides(kv.shape[1]))
    ours, shown = digest_of(moved, side, key), digest_of(kv, side, key)
    first = (bits(moved) != bits(kv)).nonzero()
    found = compare(ours, shown)
    assert same(ours, shown) == (not len(first))
    if len(first):
        assert found
        assert (found.layer, found.head) == min((layer, head) for layer, head, *_ in first.tolist())
        assert found.token == min(token for _, _, token, _ in first.tolist())


def test_any_number_of_blocks_and_layers_at_a_time_gives_the_same(monkeypatch) -> None:
    """Memory decides how many: here from one block of one layer to all of all."""
    kv, ways = torch.randn(5, 2, 70, 8), []
    pieces: list[int] = []
    ranks, blocks = stored(kv, Side("HND", 16, 1), 3)
    real = arithmetic._Hasher._hash

    def counted(hasher, caches, rows, hashed) -> None:
        pieces[-1] += 1
        real(hasher, caches, rows, hashed)

    monkeypatch.setattr(arithmetic._Hasher, "_hash", counted)
    for share in (1, 2, 5, 10, 1000):
        monkeypatch.setattr(arithmetic, "_SHARE_OF_CACHE", share)
        pieces.append(0)
        ways.append(digest(ranks[0], blocks, 70, 11))
    assert len(ways[0].heads.unique()) == 10
    assert all(same(way, ways[0]) for way in ways)
    assert pieces == sorted(pieces)
    assert pieces[0] < 10 < pieces[-1] == 25


def test_a_rank_compares_its_own_heads_and_names_them_as_the_model_does() -> None:
    kv = torch.randn(2, 4, 20, 8)
    shown = digest_of(kv, Side("HND", 16, 1), 7)
    kv[1, 3, 5, 0] += 1
    ranks, blocks = stored(kv, Side("NHD", 128, 2), 1)
    first, second = (digest(caches, blocks, 20, 7, 2 * rank) for rank, caches in enumerate(ranks))
    assert compare(first, shown) is None
    assert compare(second, shown, first_head=2) == Difference(1, 3, None)


def test_another_key_gives_another_digest() -> None:
    kv, side = torch.randn(1, 2, 9, 8), Side("HND", 16, 1)
    assert not same(digest_of(kv, side, 1), digest_of(kv, side, 2))


def test_what_cannot_be_one_prompt_of_one_model_is_refused() -> None:
    side = Side("HND", 16, 1)
    own = digest_of(torch.randn(2, 2, 9, 8), side, 1)
    for other in ((2, 2, 10, 8), (3, 2, 9, 8), (2, 1, 9, 8)):
        with pytest.raises(ValueError, match="here"):
            compare(own, digest_of(torch.randn(other), side, 1))
    with pytest.raises(ValueError, match="do not hold 17"):
        digest([torch.zeros(2, 1, 16, 8)], [1], 17, 1)


def test_the_mixer_is_splitmix64() -> None:
    """Against the published first outputs for the seed 1234567."""
    step = 0x9E3779B97F4A7C15 - 2**64
    made = mix(1234567 + step * torch.arange(1, 4))
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423 - 2**64]
    assert made.tolist() == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_sums_do_not_cancel_more_often_than_chance(dtype) -> None:
    """2,000 caches that differ in a few of the highest bits alone, the hardest case, have 2,000 digests."""
    generator = torch.Generator().manual_seed(5)
    seen = set()
    kv = torch.zeros(1, 1, 4, 16 * dtype.itemsize, dtype=torch.uint8)
    for _ in range(2000):
        sign = torch.randint(0, 2, (1, 1, 4, 16), generator=generator, dtype=torch.uint8) << 7
        kv[..., dtype.itemsize - 1 :: dtype.itemsize] = sign
        seen.add(digest_of(kv.clone().view(dtype), Side("HND", 16, 1), 99).heads.item())
    assert len(seen) == 2000
    assert math.log2(len({number & 0xFFFFFFFF for number in seen})) > 10.9
