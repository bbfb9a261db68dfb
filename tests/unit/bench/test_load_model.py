"""What the load benchmark writes: read again it is the same, and what follows from requests follows."""

import json
from pathlib import Path

import pytest

from heteropd.bench.load.model import Latencies, LoadResult

EXAMPLE = Path(__file__).parent / "load-example.json"


def test_a_result_is_read_again_as_it_was_written() -> None:
    result = LoadResult.model_validate_json(EXAMPLE.read_text())
    again = LoadResult.model_validate_json(result.model_dump_json())
    assert again == result
    assert result.validity.valid
    level = json.loads(result.model_dump_json())["arms"][0]["levels"][0]
    assert level["ttft"]["p50"] <= level["ttft"]["p99"] <= level["ttft"]["maximum"]


def test_rates_count_good_requests_and_goodput_those_that_met_the_objective() -> None:
    result = LoadResult.model_validate_json(EXAMPLE.read_text())
    level = result.arms[0].levels[0]
    slow = level.requests[0].model_copy(update={"ttft_s": 100.0})
    failed = level.requests[1].model_copy(update={"ok": False})
    spoilt = level.model_copy(update={"requests": [slow, failed, *level.requests[2:]]})
    count = len(level.requests)
    assert spoilt.requests_per_s == pytest.approx((count - 1) / level.seconds)
    assert spoilt.output_tokens_per_s == pytest.approx((count - 1) * 24 / level.seconds)
    assert spoilt.goodput_share == pytest.approx((count - 2) / count)


def test_nothing_measured_has_no_percentiles() -> None:
    assert Latencies.of([None]) is None
