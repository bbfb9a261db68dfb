"""Counting tokens of streams, against a small server that streams as vLLM does."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from heteropd.bench import tokens
from heteropd.errors import KitError

TOKENS, PAUSE_S = 10, 0.01


class _Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        wanted = body["max_tokens"] - (1 if body["model"] == "stops-early" else 0)
        self.send_response(500 if body["model"] == "fails" else 200)
        self.end_headers()
        for made in range(1, wanted + 1):
            time.sleep(PAUSE_S)
            line = {"choices": [{"text": "x"}], "usage": {"completion_tokens": made}}
            self.wfile.write(f"data: {json.dumps(line)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that leaves in the middle of a stream is what the benchmark does at its end."""


@pytest.fixture
def url() -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), _Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _load(model: str, measure_s: float = 0.5) -> tokens.Load:
    return tokens.Load(model, "prompt", TOKENS, warmup_s=0.1, measure_s=measure_s)


def test_tokens_a_second_of_each_engine(url: str) -> None:
    one, three = tokens.measure([tokens.TokenTarget(url, 1), tokens.TokenTarget(url, 3)], _load("m"))
    # Upper bounds only are exact: a busy machine makes fewer.
    assert 0 < one <= 1.1 / PAUSE_S
    assert 0 < three <= 3.3 / PAUSE_S


@pytest.mark.parametrize(("model", "said"), [("stops-early", "9 of 10 tokens"), ("fails", "500")])
def test_an_engine_that_does_not_do_the_work_stops_the_benchmark(url: str, model: str, said: str) -> None:
    with pytest.raises(KitError, match=said):
        tokens.measure([tokens.TokenTarget(url, 1)], _load(model, 60))


def test_an_engine_that_is_not_there_stops_the_benchmark() -> None:
    with pytest.raises(KitError, match="a request failed"):
        tokens.measure([tokens.TokenTarget("http://127.0.0.1:9", 1)], _load("m", 60))


def test_only_the_window_counts() -> None:
    window = tokens.TokenWindow(opens=10.0, closes=20.0)
    for now in (9.9, 10.0, 19.9, 20.0):
        window.take(5, now)
    assert window.per_second == 1.0


def test_every_request_is_a_new_prompt() -> None:
    load = _load("m")
    assert load.request()["cache_salt"] != load.request()["cache_salt"]


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ('data: {"choices": [], "usage": {"completion_tokens": 3}}', 3),
        ('data: {"choices": [], "usage": null}', None),
        ("data: [DONE]", None),
        ("", None),
        (": comment", None),
    ],
)
def test_lines_of_a_stream(line: str, made: int | None) -> None:
    assert tokens.completed(line) == made
