"""What engines answer, taken apart: generated tokens and server-sent events. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One generated token; ``top`` is empty when the engine gave no log-probabilities."""

    token: str
    top: Mapping[str, float]


def steps_of(answer: Mapping[str, Any]) -> list[Step]:
    """The generated tokens of a completion that asked for log-probabilities, empty when it has none."""
    choices = answer.get("choices") or [{}]
    logprobs = choices[0].get("logprobs") or {}
    tokens = logprobs.get("tokens") or []
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    return [Step(str(token), dict(top or {})) for token, top in zip(tokens, tops, strict=False)]


def events_of(text: str) -> list[Json | str]:
    """The data of each server-sent event, JSON decoded where it is JSON; other lines are skipped."""
    events: list[Json | str] = []
    for line in text.splitlines():
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        try:
            events.append(json.loads(data))
        except ValueError:
            events.append(data)
    return events
