"""Talking to an engine or the router over HTTP; every failure is one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from heteropd.config.validation import Waits
from heteropd.engine_api.metrics import Counts

Json = dict[str, Any]


class AnswerProblem(Exception):
    """No answer, or not the one that the API promises. The message is fit for a report."""


class Endpoint:
    """One role's HTTP API. Safe to share between threads."""

    def __init__(
        self, name: str, url: str, waits: Waits, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.name, self.url = name, url
        # Proxies of the environment are for the internet; an engine is on this machine or next to it.
        self._http = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(waits.request_s, connect=waits.connect_s),
            limits=httpx.Limits(max_connections=None),
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> httpx.Response:
        return self._send("GET", path, None)

    def post(self, path: str, body: Json) -> Json:
        """The JSON object that answers; raises `AnswerProblem` for anything else."""
        return self._object(self._send("POST", path, body))

    def get_json(self, path: str) -> Json:
        return self._object(self.get(path))

    def counts(self) -> Counts:
        return Counts.read(self.get("/metrics").text)

    def stream(self, path: str, body: Json) -> tuple[str, str]:
        """The content type and the whole text of a streamed answer."""
        answer = self._send("POST", path, {**body, "stream": True})
        return answer.headers.get("content-type", ""), answer.text

    def tokenize(self, model: str, text: str, special: bool = True) -> list[int]:
        """Token ids as this engine's tokenizer gives them; ``special``: with what it adds of itself (BOS)."""
        answer = self.post("/tokenize", {"model": model, "prompt": text, "add_special_tokens": special})
        tokens = answer.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(one, int) for one in tokens):
            raise AnswerProblem(f"{self.name}: /tokenize gave no token ids")
        return tokens

    def _send(self, method: str, path: str, body: Json | None) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.ConnectError:
            raise AnswerProblem(f"{self.name} at {self.url} does not accept connections") from None
        except httpx.TimeoutException:
            raise AnswerProblem(f"{self.name}: {method} {path}: no answer in time") from None
        except httpx.HTTPError as problem:
            raise AnswerProblem(
                f"{self.name}: {method} {path}: {type(problem).__name__}: {problem}"
            ) from None
        if answer.status_code != httpx.codes.OK:
            excerpt = " ".join(answer.text.split())[:200]
            raise AnswerProblem(f"{self.name}: {method} {path}: HTTP {answer.status_code}: {excerpt}")
        return answer

    def _object(self, answer: httpx.Response) -> Json:
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise AnswerProblem(f"{self.name}: {answer.request.url.path}: the answer is not a JSON object")
        return value


def greedy(model: str, tokens: Sequence[int], max_tokens: int, top: int, salt: str) -> Json:
    """A completion request whose answer can be compared token by token."""
    return {
        "model": model,
        "prompt": list(tokens),
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "logprobs": top,
        # Different ids may print alike (bytes of a character); ids do not.
        "return_tokens_as_token_ids": True,
        "cache_salt": salt,
    }
