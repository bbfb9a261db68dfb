"""Is the answer the API's answer? Pure checks on what came back through the router."""

from collections.abc import Mapping
from typing import Any

from heteropd.config.validation import DocumentRequest
from heteropd.engine_api.responses import END, EngineResponse, steps_of, text_of
from heteropd.findings import Evidence
from heteropd.proof.api_requests import Answer, ApiKind
from heteropd.proof.compare import compare, judge
from heteropd.proof.verdict import Check, checked

_OBJECT: Mapping[ApiKind, str] = {
    "document": "text_completion",
    "completion": "text_completion",
    "chat": "chat.completion",
}


def shape_problems(answer: Mapping[str, Any], kind: ApiKind, model: str, max_tokens: int) -> list[str]:
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
    if not text_of(answer).strip():
        problems.append("the text is empty")
    return problems + _usage_problems(answer.get("usage"), choice.get("finish_reason"), max_tokens)


def _usage_problems(usage: Any, finish: Any, max_tokens: int) -> list[str]:
    if not isinstance(usage, dict):
        return ["usage is missing"]
    prompt, completion, whole = (usage.get(f"{part}_tokens") for part in ("prompt", "completion", "total"))
    if not (isinstance(prompt, int) and isinstance(completion, int) and isinstance(whole, int)):
        return ["usage has no token counts"]
    problems = []
    if prompt + completion != whole:
        problems.append(f"usage does not add up: {prompt} + {completion} != {whole}")
    if finish not in ("length", "stop"):
        problems.append(f"finish_reason is {finish!r}")
    if (finish == "length" and completion != max_tokens) or not 0 < completion <= max_tokens:
        problems.append(f"{completion} tokens with finish_reason {finish!r} and max_tokens {max_tokens}")
    return problems


def stream_problems(response: EngineResponse, kind: ApiKind) -> list[str]:
    """What is wrong with a stream's framing."""
    problems = [] if response.ok else [response.text]
    events = response.events
    chunks = [event for event in events if isinstance(event, dict)]
    if not events or events[-1] != END or len(chunks) != len(events) - 1:
        problems.append("the stream is not JSON events followed by one [DONE]")
    expected = _OBJECT[kind] + (".chunk" if kind == "chat" else "")
    if any(chunk.get("object") != expected for chunk in chunks):
        problems.append(f"not every event is a {expected}")
    if len({chunk.get("id") for chunk in chunks}) > 1:
        problems.append("the id changes within the stream")
    finishes = [choice.get("finish_reason") for chunk in chunks for choice in chunk.get("choices") or []]
    if not {"length", "stop"} & set(finishes):
        problems.append(f"no finish_reason in the stream ({next(filter(None, finishes), None)!r})")
    return problems


def streamed_text(response: EngineResponse) -> str:
    """The pieces of a stream, put together."""
    return "".join(text_of(event) for event in response.events if isinstance(event, dict))


def document_check(answer: Answer, request: DocumentRequest, model: str, counted: int | None) -> Check:
    """The source document's request. ``answer`` is a sentence when there was none; ``counted`` is the length
    of the prompt by the prefill engine's own tokenizer."""
    if isinstance(answer, str):
        return _check("connectivity.document_request", [answer], "", {})
    problems = shape_problems(answer, "completion", model, request.max_tokens)
    usage = answer.get("usage") or {}
    if counted is not None and usage.get("prompt_tokens") != counted:
        problems.append(f"prompt_tokens is {usage.get('prompt_tokens')}, the tokenizer counts {counted}")
    evidence: Evidence = {
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
        "text": text_of(answer),
    }
    good = "answered in the shape of the document's example"
    return _check("connectivity.document_request", problems, good, evidence)


def plain_check(kind: ApiKind, answer: Answer, model: str, max_tokens: int) -> Check:
    """A short request, unstreamed."""
    problems = [answer] if isinstance(answer, str) else shape_problems(answer, kind, model, max_tokens)
    text = "" if isinstance(answer, str) else text_of(answer)
    return _check(f"connectivity.{kind}", problems, "answered, shape as it should be", {"text": text})


def stream_check(kind: ApiKind, plain: Answer, streamed: EngineResponse | str, bound: float) -> Check:
    """The same request streamed: framing, and the same text unless it departs from it at a tie."""
    name = f"connectivity.{kind}_stream"
    if isinstance(streamed, str):
        return _check(name, [streamed], "", {})
    problems, text = stream_problems(streamed, kind), streamed_text(streamed)
    good = "streamed; the pieces make the unstreamed text"
    if not isinstance(plain, str) and text != text_of(plain):
        good = "streamed; departs from the unstreamed text at a tie"
        if judge(compare(steps_of(plain), streamed.steps), bound) != "tie":
            problems.append("the pieces do not make the unstreamed text, and not because of a tie")
    return _check(name, problems, good, {"text": text})


def _check(check_id: str, problems: list[str], good: str, evidence: Evidence) -> Check:
    problem = "; ".join(problems) or None
    fix = "read the router's log, then the engines' (make logs)"
    return checked(check_id, problem, good, evidence, fix)
