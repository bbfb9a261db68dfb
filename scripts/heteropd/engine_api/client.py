"""Talking to engines and the router over HTTP."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from types import TracebackType
from typing import Self

import httpx
from httpx_sse import SSEError, connect_sse
from prometheus_client.samples import Sample

from heteropd.engine_api.metrics import Counts, samples
from heteropd.engine_api.requests import Json
from heteropd.engine_api.responses import (
    EngineResponse,
    Kind,
    decoded,
    in_one_line,
    steps_of,
    stream_problem,
)
from heteropd.system import Clock, SystemClock

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
_CONNECT_S = 5.0


class AnswerProblem(Exception):
    """No answer, or not the one that the API promises. The message is fit for a report."""


class EngineClient:
    """One pool of connections to all roles of a topology. Safe to share between threads.

    Never raises for what a server does or fails to do: the response says what came. ``limit_s`` is how long
    the server may be silent, for a stream also how long the whole may take.
    """

    def __init__(self, clock: Clock | None = None, transport: httpx.BaseTransport | None = None) -> None:
        self._clock = clock or SystemClock()
        # Proxies of the environment are for the internet; an engine is on this machine or next to it.
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.Client(verify=_tls(), limits=limits, transport=transport, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, url: str, body: Json | None = None, *, limit_s: float) -> EngineResponse:
        """Send one request and wait for the whole answer."""
        began = self._clock.now()

        def ended(kind: Kind, code: int | None, text: str) -> EngineResponse:
            return EngineResponse(kind, code, text, began, self._clock.now())

        try:
            answer = self._http.request(method, url, json=body, timeout=_timeout(limit_s))
        except httpx.TimeoutException:
            return ended("late", None, f"{limit_s:g} s")
        except httpx.HTTPError as problem:
            return ended("refused", None, _words(problem))
        if not answer.is_success:
            return ended("refused", answer.status_code, in_one_line(answer.text))
        return ended("whole", answer.status_code, answer.text)

    def complete(self, url: str, body: Json, *, limit_s: float) -> EngineResponse:
        """A completion that asks for log-probabilities: without any token it is not whole."""
        response = self.request("POST", url + COMPLETIONS, body, limit_s=limit_s)
        if not response.ok or response.steps:
            return response
        if not response.json:
            return replace(response, kind="cut", text="not JSON")
        return replace(response, kind="refused", text=f"no tokens: {in_one_line(response.text)}")

    def stream(
        self, url: str, body: Json, *, limit_s: float, on_token: Callable[[int], None] | None = None
    ) -> EngineResponse:
        """Send a request and read its server-sent events; ``on_token`` is called with the count after each
        token."""
        began, code, problem = self._clock.now(), None, ""
        events: list[Json | str] = []

        def ended(kind: Kind, text: str) -> EngineResponse:
            return EngineResponse(kind, code, text, began, self._clock.now(), tuple(events))

        tokens = 0
        try:
            with connect_sse(
                self._http, "POST", url, json={**body, "stream": True}, timeout=_timeout(limit_s)
            ) as source:
                code = source.response.status_code
                if not source.response.is_success:
                    return ended("refused", in_one_line(source.response.read().decode(errors="replace")))
                for sent in source.iter_sse():
                    event = decoded(sent.data)
                    events.append(event if isinstance(event, dict) else sent.data)
                    for _ in steps_of(event) if isinstance(event, dict) else ():
                        tokens += 1
                        if on_token:
                            on_token(tokens)
                    if self._clock.now() - began > limit_s:
                        raise httpx.ReadTimeout("")
        except httpx.TimeoutException:
            return ended("late", f"{limit_s:g} s")
        except (httpx.HTTPError, SSEError) as failure:
            problem = _words(failure)
        if code is None:
            return ended("refused", problem)
        # Whoever reads to the end of the stream takes it for whole unless something tells otherwise.
        problem = problem or stream_problem(events)
        return ended("cut" if problem else "whole", problem)


class Endpoint:
    """One role's API by its name, for whom an answer that did not come is an exception."""

    def __init__(self, client: EngineClient, name: str, url: str, limit_s: float) -> None:
        self.name, self.url = name, url
        self._client, self._limit_s = client, limit_s

    def get(self, path: str, *, limit_s: float | None = None) -> EngineResponse:
        """The whole answer. Raises `AnswerProblem`, as all of these do."""
        return self._whole("GET", path, None, limit_s)

    def get_json(self, path: str) -> Json:
        return self._object(path, self.get(path))

    def post(self, path: str, body: Json, *, limit_s: float | None = None) -> Json:
        """The JSON object that answers."""
        return self._object(path, self._whole("POST", path, body, limit_s))

    def stream(self, path: str, body: Json) -> EngineResponse:
        """A streamed answer, which has begun at least."""
        response = self._client.stream(self.url + path, body, limit_s=self._limit_s)
        return response if response.kind == "cut" else self._require(f"POST {path}", response)

    def metrics(self, *, limit_s: float | None = None) -> list[Sample]:
        return samples(self.get("/metrics", limit_s=limit_s).text)

    def models(self) -> list[Json]:
        """What it serves, a model each."""
        return [each for each in self.get_json("/v1/models").get("data") or [] if isinstance(each, dict)]

    def counts(self, *, limit_s: float | None = None) -> Counts:
        return Counts.of(self.metrics(limit_s=limit_s))

    def tokenize(self, model: str, text: str | Sequence[Json], special: bool = True) -> list[int]:
        """Token ids of a text, or of a chat's messages through its template, as this engine gives them;
        ``special``: with what the tokenizer adds of itself (BOS)."""
        body: Json = {"model": model, "messages": list(text)}
        if isinstance(text, str):
            body = {"model": model, "prompt": text, "add_special_tokens": special}
        tokens = self.post("/tokenize", body).get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise AnswerProblem(f"{self.name}: /tokenize gave no token ids")
        return tokens

    def _whole(self, method: str, path: str, body: Json | None, limit_s: float | None) -> EngineResponse:
        response = self._client.request(method, self.url + path, body, limit_s=limit_s or self._limit_s)
        return self._require(f"{method} {path}", response)

    def _require(self, what: str, response: EngineResponse) -> EngineResponse:
        if response.ok:
            return response
        if response.kind == "refused" and response.code is None:
            raise AnswerProblem(f"{self.name} at {self.url} does not accept connections ({response.text})")
        raise AnswerProblem(f"{self.name}: {what}: {response.short}")

    def _object(self, path: str, response: EngineResponse) -> Json:
        if not response.json:
            raise AnswerProblem(f"{self.name}: {path}: the answer is not a JSON object")
        return response.json


@cache
def _tls() -> ssl.SSLContext:
    """One for all clients: reading the certificate authorities takes 30 ms, and a command makes many."""
    return httpx.create_ssl_context(trust_env=False)


def _timeout(limit_s: float) -> httpx.Timeout:
    return httpx.Timeout(limit_s, connect=min(_CONNECT_S, limit_s))


def _words(problem: Exception) -> str:
    return in_one_line(str(problem)) or type(problem).__name__
