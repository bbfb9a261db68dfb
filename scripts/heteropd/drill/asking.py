"""One completion as a client gets it: whole, refused, cut off half-way, or not within its time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from heteropd.seams import Clock
from heteropd.validate.client import Json, steps_of
from heteropd.validate.compare import Step

Kind = Literal["whole", "refused", "cut", "late"]
_END = "[DONE]"
_CONNECT_S = 5.0


@dataclass(frozen=True)
class Answer:
    """``steps`` is what was generated as far as it came, ``says`` what a client is told beside it.

    ``cut``: an answer that had begun and that the client can see to be incomplete. ``ended`` is the clock's
    time, in seconds; ``extra`` the rest of a whole answer.
    """

    kind: Kind
    code: int | None
    steps: tuple[Step, ...]
    says: str
    began: float
    ended: float
    extra: Mapping[str, Any]

    @property
    def short(self) -> str:
        """In a few words, as a report shows it."""
        if self.kind == "whole":
            return f"HTTP 200, {len(self.steps)} tokens"
        if self.kind == "cut":
            return f"HTTP 200, cut off after {len(self.steps)} tokens ({self.says})"
        if self.kind == "late":
            return f"no answer ({self.says})"
        return f"HTTP {self.code}: {self.says}" if self.code else self.says


def ask(url: str, body: Json, clock: Clock, limit_s: float) -> Answer:
    """Send a completion to ``url`` and wait at most ``limit_s`` seconds. Never raises for what happens."""
    began = clock.now()

    def answer(kind: Kind, code: int | None, says: str, found: Json | None = None) -> Answer:
        return Answer(kind, code, tuple(steps_of(found or {})), says, began, clock.now(), found or {})

    try:
        with _client(limit_s) as client:
            reply = client.post(f"{url}/v1/completions", json=body)
    except httpx.TimeoutException:
        return answer("late", None, f"{limit_s:g} s")
    except httpx.HTTPError as problem:
        return answer("refused", None, _told(problem))
    if reply.status_code != httpx.codes.OK:
        return answer("refused", reply.status_code, _line(reply.text))
    try:
        found = reply.json()
    except ValueError:
        return answer("cut", reply.status_code, "not JSON")
    steps = steps_of(found) if isinstance(found, dict) else []
    if not steps:
        return answer("refused", reply.status_code, f"no tokens: {_line(reply.text)}")
    return answer("whole", reply.status_code, "", found)


def stream(url: str, body: Json, clock: Clock, limit_s: float, on_token: Callable[[int], None]) -> Answer:
    """The same as a stream; ``on_token`` is called with the count after each token."""
    began, steps, code, finished, says = clock.now(), list[Step](), None, set[str](), ""
    try:
        with (
            _client(limit_s) as client,
            client.stream("POST", f"{url}/v1/completions", json={**body, "stream": True}) as reply,
        ):
            code = reply.status_code
            if code != httpx.codes.OK:
                reply.read()
                return Answer("refused", code, (), _line(reply.text), began, clock.now(), {})
            for line in reply.iter_lines():
                fresh, ends = _event(line)
                finished |= ends
                for step in fresh:
                    steps.append(step)
                    on_token(len(steps))
                if clock.now() - began > limit_s:
                    raise httpx.ReadTimeout("")
    except httpx.TimeoutException:
        return Answer("late", code, tuple(steps), f"{limit_s:g} s", began, clock.now(), {})
    except httpx.HTTPError as problem:
        says = _told(problem)
    if code is None:
        return Answer("refused", None, (), says, began, clock.now(), {})
    # A program that reads to the end of the stream takes it for whole unless one of the two marks is missing.
    whole = not says and {"finish_reason", _END} <= finished
    says = says or f"the stream ends without {' and '.join(sorted({'finish_reason', _END} - finished))}"
    return Answer(
        "whole" if whole else "cut", code, tuple(steps), "" if whole else says, began, clock.now(), {}
    )


def _event(line: str) -> tuple[list[Step], set[str]]:
    """The tokens of a line of the stream, and which marks of its end are on it."""
    data = line.removeprefix("data:").strip()
    if data == _END:
        return [], {_END}
    try:
        found = json.loads(data)
    except ValueError:
        return [], set()
    choices = found.get("choices") if isinstance(found, dict) else None
    ends = {"finish_reason"} if choices and choices[0].get("finish_reason") else set[str]()
    return (steps_of(found) if choices else []), ends


def _client(limit_s: float) -> httpx.Client:
    timeout = httpx.Timeout(limit_s, connect=min(_CONNECT_S, limit_s))
    return httpx.Client(timeout=timeout, trust_env=False)


def _told(problem: httpx.HTTPError) -> str:
    return _line(str(problem)) or type(problem).__name__


def _line(text: str) -> str:
    return " ".join(text.split())[:160]
