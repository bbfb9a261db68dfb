from __future__ import annotations

import pytest

from heteropd_engine.standin.geometry import (
    Presented,
    agreed_ratio,
    blocks_with_tokens,
    expand_block_ids,
    present,
)

TOKEN_BYTES = 1536


def own(block_size: int = 128, blocks: int = 10, gap: int = 0) -> Presented:
    length = block_size * TOKEN_BYTES
    return Presented(block_size, blocks, [length] * 3, [length + gap] * 3, [blocks] * 3)


def test_presented_memory_is_the_same_memory() -> None:
    before, shown = own(), present(own(), 16)
    assert (shown.block_size, shown.num_blocks) == (16, 80)
    assert shown.block_lens == [16 * TOKEN_BYTES] * 3
    assert shown.region_num_blocks == [80] * 3
    for layer in range(3):
        assert (
            shown.num_blocks * shown.block_strides[layer] == before.num_blocks * before.block_strides[layer]
        )


def test_presenting_its_own_size_changes_nothing() -> None:
    assert present(own(16), 16) == own(16)


def test_regions_unknown_stay_unknown() -> None:
    assert present(Presented(32, 4, [64], [64], None), 16).region_num_blocks is None


@pytest.mark.parametrize("agreed", [0, -16, 48, 256])
def test_a_size_that_does_not_divide_is_refused(agreed: int) -> None:
    with pytest.raises(ValueError, match=f"agreed_block_size {agreed} does not divide"):
        agreed_ratio(128, agreed)


def test_blocks_with_gaps_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="gaps"):
        present(own(gap=64), 16)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (1, [40]),
        (16, [40]),
        (17, [40, 41]),
        (128, [40, 41, 42, 43, 44, 45, 46, 47]),
        (129, [40, 41, 42, 43, 44, 45, 46, 47, 16]),
        (256, [*range(40, 48), *range(16, 24)]),
    ],
)
def test_expansion_keeps_token_order_and_drops_the_empty_tail(tokens: int, expected: list[int]) -> None:
    own_ids = [5, 2][: -(-tokens // 128)]
    assert expand_block_ids(own_ids, 8, tokens, 16) == expected


def test_every_token_is_found_where_it_was_stored() -> None:
    own_size, agreed, ids, tokens = 64, 32, [7, 3, 9], 150
    shown = expand_block_ids(ids, own_size // agreed, tokens, agreed)
    for token in range(tokens):
        stored = ids[token // own_size] * own_size + token % own_size
        read = shown[token // agreed] * agreed + token % agreed
        assert stored == read


def test_only_blocks_with_tokens_are_converted() -> None:
    assert blocks_with_tokens([4, 5, 6], 128, 129) == [4, 5]
    assert blocks_with_tokens([4, 5, 6], 128, 128) == [4]
