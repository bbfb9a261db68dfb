"""The router benchmark refuses figures that do not stand for PD, whatever the way in says of itself."""

import json
from pathlib import Path

import pytest

from heteropd.bench.cpu import busy_s
from heteropd.bench.peers import protocol
from heteropd.bench.router_ways import check, router_argv
from heteropd.engine_api import requests
from heteropd.errors import KitError

ROOT = Path(__file__).parents[3]
GOOD = {"requests": 100, "failures": {}}
PD = {"prefill": 130, "decode": 130, "plain": 0}
PLAIN = {"prefill": 0, "decode": 0, "plain": 130}


@pytest.mark.parametrize(("way", "served"), [("router", PD), ("proxy", PD), ("direct", PLAIN)])
def test_good_work_passes(way: str, served: dict[str, int]) -> None:
    check(way, 16, GOOD, served)


@pytest.mark.parametrize(
    ("way", "loaded", "served", "said"),
    [
        ("router", GOOD, PLAIN, "not PD"),
        ("router", GOOD, {**PD, "plain": 1}, "not PD"),
        ("router", GOOD, {**PD, "decode": 99}, "not PD"),
        ("proxy", GOOD, {**PD, "prefill": 0}, "not PD"),
        ("direct", GOOD, PD, "not PD"),
        ("router", {**GOOD, "failures": {"status 503": 2}}, PD, "503"),
        ("router", {**GOOD, "requests": 0}, PD, "no request was answered"),
    ],
)
def test_anything_else_stops(way: str, loaded: dict[str, object], served: dict[str, int], said: str) -> None:
    with pytest.raises(KitError, match=said):
        check(way, 16, loaded, served)


def test_the_router_runs_as_plans_run_it() -> None:
    ports = {"prefill_port": 8001, "decode_port": 8002, "proxy": 8005, "port": 8003, "metrics_port": 8004}
    argv = router_argv(ROOT, {"ENGINE_BIN": "/bin"}, ports)
    assert argv[0] == "/bin/vllm-router"
    assert not any("{" in word for word in argv)
    for name, value in [("--port", "8003"), ("--prometheus-port", "8004"), ("--kv-connector", "nixl")]:
        assert argv[argv.index(name) + 1] == value
    assert "http://127.0.0.1:8001" in argv
    assert "http://127.0.0.1:8002" in argv


def test_the_mock_tells_prefill_decode_and_plain_apart() -> None:
    request = {"model": "mock", "prompt": "x", "max_tokens": 9, "max_completion_tokens": 9, "stream": True,
               "stream_options": {"include_usage": True}}  # fmt: skip
    assert protocol.kind_of(request) == "plain"
    first = requests.prefill_request(request)
    assert protocol.kind_of(first) == "prefill"
    assert (first["max_tokens"], first["max_completion_tokens"], first["stream"]) == (1, 1, False)
    assert "stream_options" not in first
    assert request["max_tokens"] == 9, "the caller's request must stay as it is: it goes to the decode engine"
    body = json.loads(protocol.completion(protocol.kept_blocks(1), 1).partition(b"\r\n\r\n")[2])
    assert protocol.kind_of({**request, "kv_transfer_params": body["kv_transfer_params"]}) == "decode"


@pytest.mark.parametrize(
    "params", [None, {}, {"do_remote_prefill": True}, {"do_remote_prefill": True, "remote_block_ids": [9]}]
)
def test_a_decode_without_the_prefills_blocks_counts_as_plain(params: object) -> None:
    assert protocol.kind_of({"kv_transfer_params": params}) == "plain"


def test_a_response_has_the_length_that_it_says() -> None:
    head, _, body = protocol.completion(None, 100).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head


def test_cpu_time_of_the_machine_only_grows() -> None:
    before = busy_s()
    sum(range(10**6))
    assert busy_s() >= before - 1e-6  # a sum of floats
    assert before > 0
