"""One completion as a client gets it: whole, refused, cut off half-way, or not within its time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from heteropd.engine_api.answers import Step, steps_of
from heteropd.engine_api.client import Json
from heteropd.system import Clock

Kind = Literal["whole", "refused", "cut", "late"]
_END = "[DONE]"
_CONNECT_S = 5.0


@dataclass(frozen=True)
class StreamedAnswer:
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


def ask(url: str, body: Json, clock: Clock, limit_s: float) -> StreamedAnswer:
    """Send a completion to ``url`` and wait at most ``limit_s`` seconds. Never raises for what happens."""
    began = clock.now()

    def answer(kind: Kind, code: int | None, says: str, found: Json | None = None) -> StreamedAnswer:
        return StreamedAnswer(kind, code, tuple(steps_of(found or {})), says, began, clock.now(), found or {})

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


def stream(
    url: str, body: Json, clock: Clock, limit_s: float, on_token: Callable[[int], None]
) -> StreamedAnswer:
    """The same as a stream; ``on_token`` is called with the count after each token."""
    began, code, says = clock.now(), None, ""
    steps: list[Step] = []
    missing, error = {"finish_reason", _END}, ""
    try:
        with (
            _client(limit_s) as client,
            client.stream("POST", f"{url}/v1/completions", json={**body, "stream": True}) as reply,
        ):
            code = reply.status_code
            if code != httpx.codes.OK:
                reply.read()
                return StreamedAnswer("refused", code, (), _line(reply.text), began, clock.now(), {})
            for line in reply.iter_lines():
                event = _event(line)
                missing -= event.ends
                error = error or event.error
                for step in event.steps:
                    steps.append(step)
                    on_token(len(steps))
                if clock.now() - began > limit_s:
                    raise httpx.ReadTimeout("")
    except httpx.TimeoutException:
        return StreamedAnswer("late", code, tuple(steps), f"{limit_s:g} s", began, clock.now(), {})
    except httpx.HTTPError as problem:
        says = _told(problem)
    if code is None:
        return StreamedAnswer("refused", None, (), says, began, clock.now(), {})
    # A program that reads to the end of the stream takes it for whole unless something tells it otherwise.
    whole = not (says or error or missing)
    if not whole and not says:
        says = f"the stream ends without {' and '.join(sorted(missing))}" if missing else "the stream ends"
        says += f", an error in it: {error}" if error else ""
    return StreamedAnswer("whole" if whole else "cut", code, tuple(steps), says, began, clock.now(), {})


@dataclass(frozen=True)
class _Event:
    """A line of a stream: its tokens, which marks of the end are on it, and an error that it tells."""

    steps: Sequence[Step] = ()
    ends: frozenset[str] = frozenset()
    error: str = ""


def _event(line: str) -> _Event:
    data = line.removeprefix("data:").strip()
    if data == _END:
        return _Event(ends=frozenset({_END}))
    try:
        found = json.loads(data)
    except ValueError:
        return _Event()
    if not isinstance(found, dict):
        return _Event()
    choices = found.get("choices") or [{}]
    ends = frozenset({"finish_reason"} if choices[0].get("finish_reason") else ())
    return _Event(steps_of(found), ends, _line(json.dumps(found["error"])) if found.get("error") else "")


def _client(limit_s: float) -> httpx.Client:
    timeout = httpx.Timeout(limit_s, connect=min(_CONNECT_S, limit_s))
    return httpx.Client(timeout=timeout, trust_env=False)


def _told(problem: httpx.HTTPError) -> str:
    return _line(str(problem)) or type(problem).__name__


def _line(text: str) -> str:
    return " ".join(text.split())[:160]
