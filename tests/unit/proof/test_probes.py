"""Which prompts are sent."""

import pytest

from heteropd.plan.model import KVGeometry
from heteropd.proof.probes import block_sizes, build, lengths


@pytest.mark.parametrize("sizes", [[16, 128], [128, 128], [16, 16], [32, 64], [16, 256], [64]])
def test_lengths_sit_on_and_around_every_block_boundary(sizes):
    found = lengths(sizes, 24, 2200, 2040)
    for size in sizes:
        assert {size - 1, size, size + 1, size + 2} <= set(found)
    assert max(found) > 2 * max(sizes)
    assert len(found) >= 24
    assert found == sorted(set(found))


def test_the_two_cases_stay_within_their_budget():
    assert sum(lengths([16, 128], 24, 2200, 2040)) <= 2200


@pytest.mark.parametrize("size", [16, 128])
def test_every_position_of_a_last_block_is_read_by_some_probe(size):
    # The last token is computed by the decode engine; the one before it must be the last block's.
    assert any((one - 1) % size == 1 and one > size for one in lengths([16, 128], 24, 2200, 2040))


def test_a_short_model_limits_the_lengths():
    found = lengths([16, 128], 24, 2200, 100)
    assert max(found) <= 100
    assert len(lengths([16, 128], 24, 2200, 12)) == 9  # 4 to 12: too few, and the verdict says so


def test_both_caches_and_both_wires_count():
    prefill = KVGeometry(
        layout="NHD", block_size=128, wire_layout="HND", wire_block_size=16, convert_on_save=True
    )
    decode = KVGeometry(layout="HND", block_size=32, wire_layout="HND", wire_block_size=32)
    assert block_sizes(prefill, decode) == [16, 32, 128]


def test_prompts_have_their_lengths_and_share_no_beginning():
    sizes = lengths([16, 128], 24, 2200, 2040)
    probes = build(sizes, range(1000, 1250), "seed")
    assert [len(one.tokens) for one in probes] == sizes
    assert len({one.tokens[0] for one in probes}) == len(probes)


def test_prompts_end_with_a_passage_from_before():
    for one in build(lengths([16, 128], 24, 2200, 2040), range(1000, 1250), "seed"):
        size = min(6, len(one.tokens) // 3)
        assert one.tokens[-size:] == one.tokens[one.recalls : one.recalls + size]
        assert one.recalls + size <= len(one.tokens) - size


def test_the_passages_are_spread_over_the_blocks():
    shares = [one.recalls / len(one.tokens) for one in build([258] * 26, range(1000, 1250), "seed")]
    assert min(shares) < 0.1
    assert max(shares) > 0.85
    assert max(b - a for a, b in zip(sorted(shares), sorted(shares)[1:], strict=False)) < 0.1


def test_another_run_sends_other_prompts():
    assert build([64], range(1000, 1250), "a") != build([64], range(1000, 1250), "b")
    assert build([64], range(1000, 1250), "a") == build([64], range(1000, 1250), "a")
