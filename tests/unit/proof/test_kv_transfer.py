"""What counters prove: exact figures pass, one block more or less does not."""

import pytest

from heteropd.engine_api.metrics import COUNTERS, Counts
from heteropd.proof.accounting import ExpectedTransfer, Observed, Traffic, Workload, workload
from heteropd.proof.kv_transfer import checks

TOKENS = [15, 16, 17, 275]  # 1 + 1 + 2 + 18 blocks of 16
BLOCKS, TOKEN_BYTES, LAYERS = 22, 46_080, 30
GOOD = BLOCKS * 16 * TOKEN_BYTES
EXPECTED = ExpectedTransfer(TOKENS, 16, TOKEN_BYTES, LAYERS)
UNSALTED = Workload(5, 300, 40)
SENT = Traffic(
    routed=workload(TOKENS, 6) + UNSALTED,
    cacheable=UNSALTED,
    cold={"prefill": workload([17], 6), "decode": workload(TOKENS, 6)},
    warm={"prefill": workload([17], 6), "decode": Workload()},
    stopped=2,
)


def counts(**known):
    return Counts({**dict.fromkeys(COUNTERS), **known})


def observed(*, window=None, prefill=None, decode=None, single=None, abandoned=0):
    fine = {"failed_transfers": 0, "failed_notifications": 0, "expired": 0, "local_hits": 0}
    total = sum(TOKENS)
    return Observed(
        counts(
            **{"bytes": GOOD, "descriptors": 120, "external_hits": total, "transfers": 4} | (window or {})
        ),
        counts(
            **fine
            | {
                "requests": 4 + 2 + 5,
                "prompt_tokens": total + 34 + 300,
                "computed": 0,
                "generation_tokens": 21,
            }
            | (prefill or {})
        ),
        counts(
            **fine
            | {
                "requests": 4 + 4 + 5,
                "prompt_tokens": 2 * total + 300,
                "computed": total,
                "transfers": 9,
                "generation_tokens": 24 + 24 + 40,
            }
            | (decode or {})
        ),
        single if single is not None else [(17, 2 * 16 * TOKEN_BYTES)],
        abandoned,
    )


def status(seen, expected=EXPECTED):
    return {check.id.removeprefix("kv_transfer."): check.status for check in checks(expected, SENT, seen)}


def test_exact_figures_pass():
    assert set(status(observed()).values()) == {"PASS"}


@pytest.mark.parametrize(("seen", "failing"), [
    ({"window": {"bytes": GOOD - 16 * TOKEN_BYTES}}, {"bytes", "proof"}),
    ({"window": {"bytes": GOOD + 16 * TOKEN_BYTES}}, {"bytes", "proof"}),
    ({"window": {"bytes": 0}}, {"bytes", "proof"}),  # claimed, but no byte came
    ({"window": {"bytes": 0, "external_hits": 0}}, {"bytes", "external", "proof"}),
    ({"window": {"descriptors": 2 * BLOCKS * LAYERS + 1}}, {"descriptors"}),
    ({"window": {"external_hits": sum(TOKENS) - 4}}, set()),  # all but each prompt's last
    ({"window": {"external_hits": sum(TOKENS) - 5}}, {"external"}),
    ({"window": {"external_hits": sum(TOKENS) + 1}}, {"external"}),
    ({"single": [(17, 2 * 16 * TOKEN_BYTES), (275, 17 * 16 * TOKEN_BYTES)]}, {"single"}),
    ({"single": [(17, 0)]}, {"single"}),
    ({"decode": {"failed_transfers": 1}}, {"failures"}),
    ({"decode": {"failed_notifications": 1}}, {"failures"}),
    ({"prefill": {"expired": 1}}, {"failures"}),
    ({"prefill": {"expired": 2}, "abandoned": 2}, set()),  # so soon that they were not ours
    ({"prefill": {"expired": 3}, "abandoned": 2}, {"failures"}),
    ({"decode": {"expired": 1, "late_notifications": 0}}, {"failures"}),
    ({"prefill": {"generation_tokens": 21 + 3}}, {"prefill_generated"}),
    ({"prefill": {"generation_tokens": 21 + 2}}, set()),  # engines differ in whether the last token counts
    ({"decode": {"generation_tokens": 88 - 3}}, {"decode_generated"}),
    ({"prefill": {"late_notifications": 2}}, {"failures"}),
    ({"decode": {"computed": sum(TOKENS) + 9}}, set()),
    ({"decode": {"computed": sum(TOKENS) + 10}}, {"recomputed"}),
    ({"decode": {"computed": sum(TOKENS) - 1}}, {"recomputed"}),
    ({"prefill": {"requests": 10}}, {"prefill_saw"}),
    ({"prefill": {"requests": 12}}, {"prefill_saw"}),
    ({"prefill": {"prompt_tokens": 1}}, {"prefill_saw"}),
    ({"prefill": {"requests": 13, "prompt_tokens": sum(TOKENS) + 34 + 300 + 10}}, set()),  # of `make status`
    ({"prefill": {"requests": 13, "prompt_tokens": sum(TOKENS) + 34 + 300 + 17}}, {"prefill_saw"}),
    ({"prefill": {"requests": 13, "prompt_tokens": sum(TOKENS) + 34 + 300}}, {"prefill_saw"}),
    ({"decode": {"requests": 9}}, {"decode_saw"}),
    ({"decode": {"local_hits": 301}}, {"honest"}),
    ({"prefill": {"local_hits": 317}}, set()),  # the warm one
    ({"prefill": {"local_hits": 318}}, {"honest"}),
])  # fmt: skip
def test_figures_that_are_off_fail(seen, failing):
    assert {name for name, one in status(observed(**seen)).items() if one == "FAIL"} == failing


@pytest.mark.parametrize(("missing", "skipped"), [
    ({"bytes": None}, {"bytes"}),
    ({"external_hits": None}, {"external"}),
    ({"descriptors": None}, {"descriptors"}),
])  # fmt: skip
def test_a_missing_counter_is_not_checked_while_another_proves_movement(missing, skipped):
    found = status(observed(window=missing))
    assert {name for name, one in found.items() if one == "SKIP"} == skipped
    assert found["proof"] == "PASS"


def test_with_no_counter_at_all_nothing_is_proven():
    found = status(Observed(counts(), counts(), counts(), [(17, None)]))
    assert found.pop("proof") == "FAIL"
    assert set(found.values()) == {"SKIP"}


def test_without_a_configuration_the_proportion_is_checked():
    unknown = ExpectedTransfer(TOKENS, 16, None, None)
    assert status(observed(), unknown)["bytes"] == "PASS"
    assert status(observed(window={"bytes": GOOD + 1}), unknown)["bytes"] == "FAIL"
    uneven = [(17, 2 * 16 * TOKEN_BYTES), (275, 17 * 16 * TOKEN_BYTES)]
    assert status(observed(single=uneven), unknown)["single"] == "FAIL"


def test_what_was_not_computed_is_said_without_a_negative_count():
    (check,) = (
        c for c in checks(EXPECTED, SENT, observed(decode={"computed": 0})) if c.id.endswith("recomputed")
    )
    assert check.text == "the decode engine computed 0 of its references' 323 prompt tokens"
