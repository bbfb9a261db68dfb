"""With the digest on, every prompt that a decode received must have been found equal."""

from pathlib import Path

import pytest

from heteropd.config.machine import Machine
from heteropd.engine_api.metrics import COUNTERS, Counts
from heteropd.proof import kv_digest
from plan_words import make

ROOT = Path(__file__).parents[3]
GOOD = {"digests_equal": 9, "digests_differs": 0, "digests_unknown": 0, "digests_left_out": 0, "transfers": 9}


def checks(*words, **counted):
    plan = make(["case1", *words], ROOT, Machine(cores=[0, 1]))
    return kv_digest.checks(plan, Counts({**dict.fromkeys(COUNTERS), **counted}))


def test_without_the_digest_there_is_no_check():
    assert checks() == []
    assert checks(**GOOD) == []


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_all_equal_passes(mode):
    [check] = checks(f"digest={mode}", **GOOD)
    assert (check.id, check.status, check.group) == ("kv_digest.equal", "PASS", "kv_digest")
    assert check.text == "9 of 9 received prompts have the prefill's digest, to the bit"


@pytest.mark.parametrize(
    ("counted", "text"),
    [
        ({"digests_equal": 8, "digests_differs": 1}, "differs 1"),
        ({"digests_equal": 7, "digests_unknown": 2}, "unknown 2"),
        ({"digests_equal": 8}, "8 of 9 received prompts were looked at"),
        ({"digests_equal": 0, "digests_left_out": 9}, "left every prompt out"),
    ],
)
def test_anything_else_fails(counted, text):
    [check] = checks("digest=observe", **{**GOOD, **counted})
    assert check.status == "FAIL"
    assert text in check.text


def test_what_the_sample_leaves_out_is_said():
    [check] = checks(
        "digest=observe", "digest_sample=0.5", **{**GOOD, "digests_equal": 4, "digests_left_out": 5}
    )
    assert check.status == "PASS"
    assert check.text.startswith("4 of 9")


def test_an_engine_without_the_counters_is_not_passed():
    [check] = checks("digest=enforce", transfers=9)
    assert check.status == "SKIP"
