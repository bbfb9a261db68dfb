"""KV that comes after its lease is refused, and everything else passes as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import yaml
from e2e_kit import ROOT

from heteropd.config.drills import load as load_drills
from heteropd.doctor.judge import load as checks
from heteropd_engine.lease_guard import ENDS, LEASE_S, MARGIN_S, PARAMS, LeaseGuard, Message, Receive, Send

HANDS_OVER = {PARAMS: {"do_remote_decode": True}}
HANDED_OVER = {"choices": ["…"], PARAMS: {"do_remote_prefill": True, "remote_block_ids": [1, 2]}}


class Engine:
    """Answers with what it is given, in two pieces, and keeps what it was asked."""

    def __init__(self, answer: Any, kind: str = "application/json") -> None:
        self.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.kind, self.asked = kind, b""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        while scope["method"] == "POST":
            message = await receive()
            self.asked += message["body"]
            if not message["more_body"]:
                break
        length = str(len(self.answer)).encode()
        headers = [(b"content-type", self.kind.encode()), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.answer[:5], "more_body": True})
        await send({"type": "http.response.body", "body": self.answer[5:]})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., httpx.Response]:
    """Ask an engine behind the guard, whose lease is so many seconds long."""

    def ask(engine: Engine, body: Any, lease_s: float = 30, method: str = "POST") -> httpx.Response:
        monkeypatch.setenv(LEASE_S, str(lease_s))

        async def one() -> httpx.Response:
            transport = httpx.ASGITransport(app=LeaseGuard(engine))  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                return await client.request(method, "/v1/completions", content=content)

        return asyncio.run(one())

    return ask


def test_what_is_handed_over_is_fetched_within_its_lease(asked: Callable[..., httpx.Response]) -> None:
    given = asked(Engine(HANDED_OVER), HANDS_OVER).json()
    assert {**given, PARAMS: {k: v for k, v in given[PARAMS].items() if k != ENDS}} == HANDED_OVER
    decode = Engine({"choices": ["right"]})
    body = {"prompt": "…", PARAMS: given[PARAMS]}
    answer = asked(decode, body)
    assert (answer.status_code, answer.json()) == (200, {"choices": ["right"]})
    assert json.loads(decode.asked) == body


def test_a_late_fetch_never_reaches_the_engine(asked: Callable[..., httpx.Response]) -> None:
    given = asked(Engine(HANDED_OVER), HANDS_OVER, lease_s=4).json()  # shorter than what clocks may differ by
    decode = Engine({"choices": ["another prompt's"]})
    answer = asked(decode, {PARAMS: given[PARAMS]})
    assert (answer.status_code, decode.asked) == (503, b"")
    assert "ended" in answer.json()["error"]["message"]


@pytest.mark.parametrize("ends", [None, "soon"])
def test_kv_of_unknown_age_is_refused(asked: Callable[..., httpx.Response], ends: str | None) -> None:
    decode = Engine({})
    params = {"do_remote_prefill": True, **({ENDS: ends} if ends else {})}
    assert "does not say until when" in asked(decode, {PARAMS: params}).json()["error"]["message"]
    assert decode.asked == b""


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"prompt": "…"}, {"choices": ["…"]}),
        (b"no JSON, but kv_transfer_params", {"error": "…"}),
        ([PARAMS], {"error": "…"}),
        ({PARAMS: None}, {"choices": ["…"]}),
        ({PARAMS: {"do_remote_prefill": False}}, HANDED_OVER),
        (HANDS_OVER, {"choices": ["nothing handed over"]}),
        (HANDS_OVER, b"data: {}\n\ndata: [DONE]\n\n"),
    ],
)
def test_everything_else_passes_as_it_is(
    asked: Callable[..., httpx.Response], body: Any, answer: Any
) -> None:
    engine = Engine(answer)
    given = asked(engine, body)
    assert (given.status_code, given.content) == (200, engine.answer)
    assert given.headers["content-length"] == str(len(engine.answer))
    assert engine.asked == (body if isinstance(body, bytes) else json.dumps(body).encode())


def test_what_is_no_request_for_tokens_passes(asked: Callable[..., httpx.Response]) -> None:
    assert asked(Engine(b"ok", "text/plain"), b"", method="GET").content == b"ok"


def test_the_lease_is_said_once_to_the_guard_and_to_the_drills() -> None:
    platform = yaml.safe_load((ROOT / "env/platforms/cpu.yaml").read_text())
    assert float(platform["alone_env"][LEASE_S]) == load_drills(ROOT).lease_s


def test_the_margin_is_what_the_doctor_lets_clocks_differ_by() -> None:
    assert checks(ROOT).limits.clock_skew_s == MARGIN_S
