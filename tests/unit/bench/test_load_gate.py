"""No number without a verdict: what is planted in a good result makes it INVALID, with the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heteropd.bench.load import gate
from heteropd.bench.load.model import ArmName, Level, LoadResult

EXAMPLE = Path(__file__).parent / "load-example.json"


@pytest.fixture
def good() -> LoadResult:
    return LoadResult.model_validate_json(EXAMPLE.read_text())


def changed(result: LoadResult, arm: ArmName, change: Callable[[Level], Level]) -> LoadResult:
    """The result with the last level of an arm as ``change`` makes it."""
    arms = [
        found.model_copy(update={"levels": [*found.levels[:-1], change(found.levels[-1])]})
        if found.name == arm
        else found
        for found in result.arms
    ]
    return result.model_copy(update={"arms": arms})


def counted(result: LoadResult, arm: ArmName = "pd", **counts: Any) -> LoadResult:
    return changed(
        result, arm, lambda level: level.model_copy(update={"kv": level.kv.model_copy(update=counts)})
    )


def one_request(result: LoadResult, **fields: Any) -> LoadResult:
    def change(level: Level) -> Level:
        first = level.requests[0].model_copy(update=fields)
        return level.model_copy(update={"requests": [first, *level.requests[1:]]})

    return changed(result, "pd", change)


def test_a_good_result_is_valid(good: LoadResult) -> None:
    assert gate.judge(good).reasons == []


def test_the_decode_that_recomputes_is_invalid(good: LoadResult) -> None:
    planted = counted(good, recomputed_tokens=2048, external_tokens=0, bytes=0, transfers=0)
    reasons = " ".join(gate.judge(planted).reasons)
    assert "computed 2,048 prompt tokens itself" in reasons
    assert "0 bytes of KV moved" in reasons


@pytest.mark.parametrize(("span_s", "kept"), [(14.0, True), (0.2, False), (90.0, False)])
def test_arrivals_of_another_rate_are_invalid(good: LoadResult, span_s: float, kept: bool) -> None:
    """As guidellm sent them on a busy machine: nearly all at once."""

    def arriving(level: Level) -> Level:
        requests = [
            request.model_copy(update={"started_s": span_s * number / (len(level.requests) - 1)})
            for number, request in enumerate(level.requests)
        ]
        return level.model_copy(update={"value": 0.5, "requests": requests})

    for arm in ("pd", "aggregated"):
        profile = good.profile.model_copy(update={"mode": "poisson", "levels": [0.5]})
        arms = [found.model_copy(update={"levels": found.levels[-1:]}) for found in good.arms]
        planted = changed(good.model_copy(update={"profile": profile, "arms": arms}), arm, arriving)
        reasons = [reason for reason in gate.judge(planted).reasons if reason.startswith(f"{arm} at 0.5")]
        assert [reason for reason in reasons if "did not keep its schedule" in reason] == (
            [] if kept else reasons
        )
        assert bool(reasons) != kept


def test_a_wrong_layout_is_invalid_by_the_verdict_after(good: LoadResult) -> None:
    """Bytes and counts are as they should be; only the answers are garbage."""
    after = good.verdicts["after"]
    assert after is not None
    failures = ["integrity.probes: 12 of 24 probes differ"]
    spoilt = after.model_copy(update={"result": "FAIL", "failures": failures})
    planted = good.model_copy(update={"verdicts": {**good.verdicts, "after": spoilt}})
    assert gate.judge(planted).reasons == [f"the verdict after the load is FAIL; {failures[0]}"]


def test_a_router_that_bypasses_the_decode_is_invalid(good: LoadResult) -> None:
    reasons = gate.judge(counted(good, decode_requests=0, bytes=0, external_tokens=0)).reasons
    assert any("decode engines served 0 requests of 8" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("expired", "3 leases that expired"),
        ("late_notifications", "3 notifications after a lease had expired"),
        ("failed_transfers", "3 failed transfers"),
        ("failed_notifications", "3 failed notifications"),
        ("digests_differs", "3 KV digests that differ"),
    ],
)
def test_what_must_never_be_counted_is_invalid_in_either_arm(good: LoadResult, name: str, words: str) -> None:
    assert gate.judge(counted(good, **{name: 3})).reasons == [f"pd at 4: {words}"]
    assert gate.judge(counted(good, "aggregated", **{name: 3})).reasons == [f"aggregated at 4: {words}"]


def test_answers_without_tokens_are_invalid(good: LoadResult) -> None:
    planted = one_request(good, output_tokens=0, ttft_s=None, itl_s=None)
    assert gate.judge(planted).reasons == ["pd at 4: 1 of 8 answers have 0 tokens"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ok": False, "error": "HTTP 503"}, "1 of 8 requests failed (HTTP 503)"),
        ({"output_tokens": 23}, "1 answers have other lengths"),
        ({"ttft_s": None}, "answers without a time of their first token"),
    ],
)
def test_requests_that_went_wrong_are_invalid(good: LoadResult, fields: dict[str, Any], words: str) -> None:
    assert [reason for reason in gate.judge(one_request(good, **fields)).reasons if words in reason]


def test_requests_of_others_are_invalid(good: LoadResult) -> None:
    assert gate.judge(counted(good, prefill_requests=9)).reasons
    assert gate.judge(counted(good, "aggregated", prefill_requests=5)).reasons


def test_an_aggregated_arm_that_hands_over_is_invalid(good: LoadResult) -> None:
    reasons = gate.judge(counted(good, "aggregated", bytes=1)).reasons
    assert reasons == ["aggregated at 4: KV moved between the engines: this is not aggregated serving"]


def test_a_restart_meanwhile_is_invalid(good: LoadResult) -> None:
    assert "counters went backwards" in gate.judge(counted(good, bytes=-5)).reasons[0]


def test_levels_and_verdicts_that_are_missing_are_invalid(good: LoadResult) -> None:
    lost = good.model_copy(update={"arms": good.arms[:1], "verdicts": {**good.verdicts, "before": None}})
    reasons = gate.judge(lost).reasons
    assert reasons == [
        "there is no verdict before the load",
        "aggregated: not every level of the profile was measured",
    ]


def test_engines_that_count_nothing_show_no_movement(good: LoadResult) -> None:
    reasons = gate.judge(counted(good, bytes=None, external_tokens=None)).reasons
    assert "nothing shows that the KV moved" in reasons[0]


def test_foreign_load_and_stand_ins_are_said(good: LoadResult) -> None:
    planted = changed(good, "pd", lambda level: level.model_copy(update={"cores_others": 0.9}))
    said = " ".join(gate.caveats(planted))
    assert "up to 0.90 cores" in said
    assert "CPU stand-ins" in said
    assert gate.judge(planted).valid
    assert "Other programs" not in " ".join(gate.caveats(good))
