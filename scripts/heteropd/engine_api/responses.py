"""What came of a request, and what an engine's answer says: generated tokens, text, events. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from heteropd.engine_api.requests import Json

Kind = Literal["whole", "refused", "cut", "late"]
END = "[DONE]"
_SHOWN = 200  # characters of an answer in a message
_TRY_AGAIN = (408, 425, 429)


@dataclass(frozen=True)
class Step:
    """One generated token; ``top`` is empty when the engine gave no log-probabilities."""

    token: str
    top: Mapping[str, float]


@dataclass(frozen=True)
class EngineResponse:
    """What came of one request.

    ``whole``: a status of success, to the end. ``refused``: another status, or no connection (``code`` is
    None). ``cut``: begun well, and a client can see that it is incomplete. ``late``: not there in time.
    ``text`` is the body of a whole answer, else what happened in a few words. ``events`` are a stream's, JSON
    decoded where it is JSON. ``began`` and ``ended`` are the clock's seconds.
    """

    kind: Kind
    code: int | None
    text: str
    began: float = 0.0
    ended: float = 0.0
    events: tuple[Json | str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.kind == "whole"

    @property
    def final(self) -> bool:
        """True when the server refused the request itself: asking again would change nothing."""
        return self.code is not None and 400 <= self.code < 500 and self.code not in _TRY_AGAIN

    @property
    def json(self) -> Json:
        """The body of a whole answer where it is a JSON object, else empty."""
        value = decoded(self.text) if self.ok else None
        return value if isinstance(value, dict) else {}

    @property
    def steps(self) -> list[Step]:
        """The generated tokens, as far as they came."""
        if not self.events:
            return steps_of(self.json)
        return [step for event in self.events if isinstance(event, dict) for step in steps_of(event)]

    @property
    def short(self) -> str:
        """In a few words, as a report shows it."""
        if self.ok:
            return f"HTTP {self.code}, {len(self.steps)} tokens"
        if self.kind == "cut":
            return f"HTTP {self.code}, cut off after {len(self.steps)} tokens ({self.text})"
        if self.kind == "late":
            return f"no answer within {self.text}"
        return f"HTTP {self.code}: {self.text}".rstrip(": ") if self.code else self.text


def decoded(data: str) -> Any:
    """The JSON value of a text, the text itself where it is not JSON."""
    try:
        return json.loads(data)
    except ValueError:
        return data


def in_one_line(text: str) -> str:
    """The beginning of a text, as a message shows it."""
    return " ".join(text.split())[:_SHOWN]


def steps_of(answer: Mapping[str, Any]) -> list[Step]:
    """The generated tokens of a completion or a chat, plain or one event of a stream; empty without
    log-probabilities."""
    choices = answer.get("choices") or [{}]
    logprobs = choices[0].get("logprobs") or {}
    if "content" in logprobs:
        return [
            Step(
                str(entry.get("token")),
                {str(top["token"]): top["logprob"] for top in entry.get("top_logprobs") or []},
            )
            for entry in logprobs["content"] or []
        ]
    tokens = logprobs.get("tokens") or []
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    return [Step(str(token), dict(top or {})) for token, top in zip(tokens, tops, strict=False)]


def text_of(answer: Mapping[str, Any]) -> str:
    """The generated text of a completion or a chat, plain or one event of a stream; empty without any."""
    choice = (answer.get("choices") or [{}])[0]
    part = choice.get("message") or choice.get("delta") or {}
    text = choice.get("text", part.get("content"))
    return text if isinstance(text, str) else ""


def stream_problem(events: Sequence[Json | str]) -> str:
    """What shows that a stream is incomplete, empty when nothing does.

    An engine that dies may send HTTP 200, an error among the tokens, and the mark of the end.
    """
    chunks = [event for event in events if isinstance(event, dict)]
    missing = []
    if END not in events:
        missing.append(END)
    if not any(choice.get("finish_reason") for chunk in chunks for choice in chunk.get("choices") or []):
        missing.append("finish_reason")
    problem = f"the stream ends without {' and '.join(missing)}" if missing else ""
    error = next((chunk["error"] for chunk in chunks if chunk.get("error")), None)
    if error is not None:
        problem = f"{problem or 'the stream ends'}, an error in it: {in_one_line(json.dumps(error))}"
    return problem
