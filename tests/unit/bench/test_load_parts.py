"""The parts of the load benchmark: what is sent, what is counted, what is shown."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from heteropd.bench.load import command, traffic
from heteropd.bench.load.counting import Reading, evidence
from heteropd.bench.load.model import LoadResult, RequestResult
from heteropd.bench.load.run import requests_of
from heteropd.config import bench
from heteropd.engine_api.client import Endpoint, EngineClient
from heteropd.engine_api.metrics import COUNTERS, Counts
from heteropd.errors import BadInput
from heteropd.topology import Context

ROOT = Path(__file__).parents[3]
EXAMPLE = Path(__file__).parent / "load-example.json"


def tokenizer(request: httpx.Request) -> httpx.Response:
    """An engine whose tokens are words."""
    body: dict[str, Any] = json.loads(request.content)
    if request.url.path == "/tokenize":
        return httpx.Response(200, json={"tokens": [int(word[1:]) for word in body["prompt"].split()]})
    return httpx.Response(200, json={"prompt": " ".join(f"w{token}" for token in body["tokens"])})


def test_prompts_have_the_tokens_of_their_shapes_and_share_no_beginning() -> None:
    profile = bench.load(ROOT).profiles["trace"]
    client = EngineClient(transport=httpx.MockTransport(tokenizer))
    engine = Endpoint(client, "prefill-0", "http://engine", 5)
    words = [f"w{number}" for number in range(500)]
    rows = traffic.rows(engine, "m", words, profile, ("pd 1", "pd 1"))
    assert [row["output_tokens_count"] for row in rows[:4]] == [8, 128, 8, 128]
    sizes = [len(row["prompt"].split()) for row in rows]
    assert all(900 <= size <= 1500 for size in sizes[::2])
    assert all(48 <= size <= 80 for size in sizes[1::2])
    assert len({row["prompt"][:40] for row in rows}) == len(rows)
    again = traffic.rows(engine, "m", words, profile, ("aggregated 1", "aggregated 1"))
    assert not {row["prompt"] for row in rows} & {row["prompt"] for row in again}
    later = traffic.rows(engine, "m", words, profile, ("pd 1", "later"))  # no prefix cache has them
    assert [len(row["prompt"].split()) for row in later] == sizes
    assert not {row["prompt"][:40] for row in rows} & {row["prompt"][:40] for row in later}


def test_a_scenario_ends_with_the_last_answer_and_not_with_the_clock() -> None:
    profile = bench.load(ROOT).profiles["trace"]
    scenario = traffic.scenario("http://router", "m", profile, 0.5, [{"prompt": "a"}] * 3)
    assert scenario["constraints"] == [{"kind": "max_requests", "count": 3}]
    assert scenario["profile"] == {"kind": "poisson", "rate": [0.5]}


def counts(**known: int) -> Counts:
    return Counts({name: known.get(name, 0) for name in COUNTERS})


def test_expected_bytes_are_whole_blocks_of_every_prompt() -> None:
    before = Reading(counts(), counts(bytes=7), {"handover_s": 1.0, "post_s": 0.5})
    after = Reading(
        counts(requests=2, expired=1), counts(bytes=107, requests=2), {"handover_s": 1.5, "post_s": 0.6}
    )
    requests = [
        RequestResult(started_s=0, prompt_tokens=size, output_tokens=2, ttft_s=1, itl_s=1, e2e_s=2, ok=True)
        for size in (16, 17)
    ]
    kv = evidence(before, after, requests, (16, 10))
    assert (kv.bytes, kv.expected_bytes, kv.expired) == (100, 3 * 16 * 10, 1)
    assert kv.handover_s == pytest.approx(0.5)
    assert evidence(before, after, requests, (16, None)).expected_bytes is None
    assert evidence(before, after, requests, None).expected_bytes == 0


def test_requests_are_ordered_and_timed_from_the_first_start() -> None:
    common = {"prompt_tokens": 4, "output_tokens": 2, "ttft_s": 0.1, "itl_s": 0.1, "e2e_s": 1.0}
    found = [
        {**common, "start": 11.0, "end": 13.5, "ok": True, "error": None},
        {**common, "start": 10.0, "end": 12.0, "ok": True, "error": None},
    ]
    requests, seconds = requests_of(found)
    assert [request.started_s for request in requests] == [0.0, 1.0]
    assert seconds == 3.5
    assert requests_of([]) == ([], 0.0)


@pytest.mark.parametrize("reasons", [[], ["pd at 4: no KV moved"]])
def test_the_table_says_whether_it_may_be_believed(reasons: list[str]) -> None:
    result = LoadResult.model_validate_json(EXAMPLE.read_text())
    judged = result.validity.model_copy(update={"reasons": reasons})
    stream = io.StringIO()
    command.show(result.model_copy(update={"validity": judged}), Console(file=stream, width=160))
    shown = stream.getvalue()
    assert ("INVALID" in shown) == bool(reasons)
    assert all(reason in shown for reason in reasons)
    assert shown.count("aggregated") == 2


def test_a_profile_is_shortened_by_its_requests_alone() -> None:
    settings = bench.load(ROOT)
    trace = settings.profiles["trace"]
    load = bench.changed(settings.load, {"profile": "trace"})
    assert settings.model_copy(update={"load": load}).load_profile() == trace
    load = bench.changed(load, {"requests": "6"})
    short = settings.model_copy(update={"load": load}).load_profile()
    assert short == trace.model_copy(update={"requests": 6})
    with pytest.raises(BadInput, match="requests"):
        bench.changed(load, {"requests": "0"})


def test_a_profile_that_there_is_not_is_refused(tmp_path: Path) -> None:
    settings, context = bench.load(ROOT), Context(tmp_path, Console())
    prepare: Callable[[], None] = lambda: None  # noqa: E731
    with pytest.raises(BadInput, match=r"smok.*smoke"):
        command.run(settings, {"profile": "smok"}, context, prepare)
