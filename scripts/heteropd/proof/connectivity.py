"""Is the answer the API's answer? Pure checks on what came back through the router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from heteropd.config.validation import DocumentRequest
from heteropd.engine_api.answers import Step, events_of, steps_of
from heteropd.engine_api.client import Json
from heteropd.proof.compare import compare, judge
from heteropd.proof.verdict import Check

Kind = Literal["completion", "chat"]
KINDS: tuple[Kind, ...] = ("completion", "chat")
_OBJECT = {"completion": "text_completion", "chat": "chat.completion"}
_CHUNK = {"completion": "text_completion", "chat": "chat.completion.chunk"}


@dataclass(frozen=True)
class Streamed:
    """What a streamed answer amounted to, and what was wrong with it."""

    text: str
    steps: list[Step]
    finish: str | None
    problems: list[str] = field(default_factory=list)


def shape_problems(answer: Mapping[str, Any], kind: Kind, model: str, max_tokens: int) -> list[str]:
    """Where an unstreamed answer departs from the shape of the source document's example."""
    problems = [f"no field {name!r}" for name in ("id", "created", "usage") if name not in answer]
    if answer.get("object") != _OBJECT[kind]:
        problems.append(f"object is {answer.get('object')!r}, not {_OBJECT[kind]!r}")
    if answer.get("model") != model:
        problems.append(f"model is {answer.get('model')!r}, not {model!r}")
    if answer.get("kv_transfer_params") is not None:
        problems.append("kv_transfer_params is set: this is the prefill engine's answer")
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return [*problems, "not exactly one choice"]
    choice = choices[0]
    if choice.get("index") != 0 or "logprobs" not in choice:
        problems.append("the choice lacks index 0 or logprobs")
    if not text_of(answer, kind).strip():
        problems.append("the text is empty")
    return problems + _usage_problems(answer.get("usage"), choice.get("finish_reason"), max_tokens)


def _usage_problems(usage: Any, finish: Any, max_tokens: int) -> list[str]:
    if not isinstance(usage, dict):
        return ["usage is missing"]
    prompt, completion, whole = (usage.get(f"{part}_tokens") for part in ("prompt", "completion", "total"))
    if not all(isinstance(one, int) for one in (prompt, completion, whole)):
        return ["usage has no token counts"]
    assert isinstance(prompt, int)
    assert isinstance(completion, int)
    problems = []
    if prompt + completion != whole:
        problems.append(f"usage does not add up: {prompt} + {completion} != {whole}")
    if finish not in ("length", "stop"):
        problems.append(f"finish_reason is {finish!r}")
    if (finish == "length" and completion != max_tokens) or not 0 < completion <= max_tokens:
        problems.append(f"{completion} tokens with finish_reason {finish!r} and max_tokens {max_tokens}")
    return problems


def text_of(answer: Mapping[str, Any], kind: Kind) -> str:
    """The generated text of an unstreamed answer, empty when there is none."""
    choice = (answer.get("choices") or [{}])[0]
    text = choice.get("text") if kind == "completion" else (choice.get("message") or {}).get("content")
    return text if isinstance(text, str) else ""


def chat_steps(choice: Mapping[str, Any]) -> list[Step]:
    """The generated tokens of a chat choice, plain or of one chunk."""
    content = (choice.get("logprobs") or {}).get("content") or []
    return [
        Step(
            str(one.get("token")),
            {str(top["token"]): top["logprob"] for top in one.get("top_logprobs") or []},
        )
        for one in content
    ]


def read_stream(content_type: str, body: str, kind: Kind) -> Streamed:
    """Put a server-sent event stream together and check its framing."""
    events = events_of(body)
    chunks = [event for event in events if isinstance(event, dict)]
    problems = []
    if not content_type.startswith("text/event-stream"):
        problems.append(f"content type is {content_type!r}")
    if not events or events[-1] != "[DONE]" or len(chunks) != len(events) - 1:
        problems.append("the stream is not JSON events followed by one [DONE]")
    if any(chunk.get("object") != _CHUNK[kind] for chunk in chunks):
        problems.append(f"not every event is a {_CHUNK[kind]}")
    if len({chunk.get("id") for chunk in chunks}) > 1:
        problems.append("the id changes within the stream")
    text, steps, finish = "", list[Step](), None
    for chunk in chunks:
        for choice in chunk.get("choices") or []:
            part = choice.get("text") if kind == "completion" else (choice.get("delta") or {}).get("content")
            text += part or ""
            steps += steps_of({"choices": [choice]}) if kind == "completion" else chat_steps(choice)
            finish = choice.get("finish_reason") or finish
    if finish not in ("length", "stop"):
        problems.append(f"no finish_reason in the stream ({finish!r})")
    return Streamed(text, steps, finish, problems)


def document_check(answer: Json | str, request: DocumentRequest, model: str, counted: int | None) -> Check:
    """The source document's request. ``answer`` is a sentence when there was none; ``counted`` is the length
    of the prompt by the prefill engine's own tokenizer."""
    if isinstance(answer, str):
        return _check("document_request", [answer], "", {})
    problems = shape_problems(answer, "completion", model, request.max_tokens)
    usage = answer.get("usage") or {}
    if counted is not None and usage.get("prompt_tokens") != counted:
        problems.append(f"prompt_tokens is {usage.get('prompt_tokens')}, the tokenizer counts {counted}")
    text = text_of(answer, "completion")
    evidence = {
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
    }
    return _check(
        "document_request",
        problems,
        "answered in the shape of the document's example",
        {**evidence, "text": text},
    )


def plain_check(kind: Kind, answer: Json | str, model: str, max_tokens: int) -> Check:
    """A short request, unstreamed."""
    problems = [answer] if isinstance(answer, str) else shape_problems(answer, kind, model, max_tokens)
    text = "" if isinstance(answer, str) else text_of(answer, kind)
    return _check(kind, problems, "answered, shape as it should be", {"text": text})


def stream_check(kind: Kind, plain: Json | str, streamed: tuple[str, str] | str, bound: float) -> Check:
    """The same request streamed: framing, and the same text unless it departs from it at a tie."""
    name = f"{kind}_stream"
    if isinstance(streamed, str):
        return _check(name, [streamed], "", {})
    got = read_stream(*streamed, kind)
    problems, says = list(got.problems), "streamed; the pieces make the unstreamed text"
    if not isinstance(plain, str) and got.text != text_of(plain, kind):
        ref = steps_of(plain) if kind == "completion" else chat_steps((plain.get("choices") or [{}])[0])
        outcome = judge(compare(ref, got.steps), bound)
        says = "streamed; departs from the unstreamed text at a tie"
        if outcome != "tie":
            problems.append("the pieces do not make the unstreamed text, and not because of a tie")
    return _check(name, problems, says, {"text": got.text})


def _check(name: str, problems: list[str], good: str, evidence: dict[str, Any]) -> Check:
    return Check(
        id=f"connectivity.{name}",
        group="connectivity",
        status="FAIL" if problems else "PASS",
        says="; ".join(problems) if problems else good,
        evidence=evidence,
        fix="read the router's log, then the engines' (make logs)" if problems else None,
    )
