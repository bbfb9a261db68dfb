"""Same model, tokenizer and vLLM on both sides; and the floor that must be noise."""

import pytest

from heteropd.config.validation import NoiseLimits
from heteropd.proof.engine_info import EngineInfo, read_log
from heteropd.proof.identity import (
    check_length,
    check_models,
    check_tokenizer,
    check_versions,
    check_weights,
    same_version,
)
from heteropd.proof.verdict import Floor

LIMITS = NoiseLimits(least_position=1e-3, least_run=2e-4, most_median=2e-3, most_position=2e-2)


def info(model="m", limit=2048, version="0.32.0", tokens=((1, 2), (3,))):
    named = {str(at): list(ids) for at, ids in enumerate(tokens)}
    return EngineInfo([model], "/m", limit, version, named)


@pytest.mark.parametrize(("check", "other"), [
    (lambda cards: check_models(cards, "m"), {"model": "n"}),
    (check_length, {"limit": 1024}),
    (check_versions, {"version": "0.31.1"}),
    (check_tokenizer, {"tokens": ((1, 2), (4,))}),
    (check_tokenizer, {"tokens": ()}),
])  # fmt: skip
def test_a_difference_fails(check, other):
    assert check({"prefill-0": info(), "decode-0": info()}).status == "PASS"
    assert check({"prefill-0": info(), "decode-0": info(**other)}).status == "FAIL"


@pytest.mark.parametrize(("one", "other", "same"), [
    ("0.32.0", "0.32.0", True),
    ("0.32.0", "0.32.0+cpu", True),
    ("0.32.0", "0.32.1", False),
    ("0.13.0rc2.dev30+gf21f5ea38.empty", "0.13.0rc2.dev30+gf21f5ea38.d20251216.cu128", True),
    ("0.13.0rc2.dev30+gf21f5ea38", "0.13.0rc2.dev30+gf21f5ea38c6fa", True),
    ("0.13.0rc2.dev30+gf21f5ea38", "0.13.0rc2.dev30+gaaaaaaaaa", False),
    # Two checkouts of one commit with and without its tags.
    ("0.13.0rc2.dev30+gf21f5ea38", "0.1.dev1+gf21f5ea38.empty", True),
])  # fmt: skip
def test_versions_are_the_same_but_for_the_build(one, other, same):
    assert same_version(one, other) is same


def test_an_engine_that_does_not_tell_its_version_is_not_compared():
    assert check_versions({"prefill-0": info(), "decode-0": info(version=None)}).status == "SKIP"


@pytest.mark.parametrize(("median", "largest", "status"), [
    (0.0, 0.0, "PASS"),
    (1e-5, 1e-4, "PASS"),
    (3e-3, 4e-3, "FAIL"),
    (1e-5, 3e-2, "FAIL"),
    (None, None, "SKIP"),
])  # fmt: skip
def test_a_floor_above_the_noise_of_the_dtype_is_other_weights(median, largest, status):
    floor = Floor(dtype="float32", probes=12, positions=96, median=median, p90=largest, maximum=largest,
                  position_bound=None, run_bound=None)  # fmt: skip
    assert check_weights(floor, LIMITS).status == status


@pytest.mark.parametrize(("text", "layout", "dtype", "chunk"), [
    ("x Using LBNHC KV cache layout.\nDetected kv cache layout LBHNC", "HND", None, None),
    ("config: model='m', dtype=torch.bfloat16, max_seq_len=2048", None, "bfloat16", None),
    ("Using NHD KV cache layout\nChunked prefill: max_num_batched_tokens=8192.", "NHD", None, 8192),
    ("Using uvloop\nUsing CPU_ATTN backend", None, None, None),
    (None, None, None, None),
])  # fmt: skip
def test_a_log_tells_what_an_engine_has(text, layout, dtype, chunk):
    facts = read_log(text)
    assert (facts.layout, facts.dtype, facts.chunk) == (layout, dtype, chunk)
