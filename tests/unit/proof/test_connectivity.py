"""The shape of answers, held against the source document's example."""

import copy
import json

import httpx
import pytest

from heteropd.config.validation import DocumentRequest
from heteropd.engine_api.client import EngineClient
from heteropd.engine_api.responses import text_of
from heteropd.proof.connectivity import (
    document_check,
    shape_problems,
    stream_check,
    stream_problems,
    streamed_text,
)

REQUEST = DocumentRequest(prompt="Mark Elliot", max_tokens=100, temperature=0)
EXAMPLE = {  # the source document's, its text cut
    "id": "cmpl-7039b3dc-49b9-4943-84a1-6889d2a5c2cf",
    "object": "text_completion",
    "created": 1766014426,
    "model": "Qwen/Qwen3-0.6B",
    "choices": [{"index": 0, "text": " He has been the subject", "logprobs": None, "finish_reason": "length",
                 "stop_reason": None, "token_ids": None, "prompt_logprobs": None, "prompt_token_ids": None}],
    "service_tier": None,
    "system_fingerprint": None,
    "usage": {"prompt_tokens": 199, "total_tokens": 299, "completion_tokens": 100},
    "kv_transfer_params": None,
}  # fmt: skip
MODEL = EXAMPLE["model"]


def changed(path, value):
    answer = copy.deepcopy(EXAMPLE)
    *way, last = path
    place = answer
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return answer


def test_the_documents_example_is_right():
    assert shape_problems(EXAMPLE, "completion", MODEL, 100) == []
    assert document_check(EXAMPLE, REQUEST, MODEL, 199).status == "PASS"


@pytest.mark.parametrize(("path", "value", "told"), [
    (["id"], ..., "'id'"),
    (["object"], "chat.completion", "object"),
    (["model"], "other", "model"),
    (["kv_transfer_params"], {"remote_host": "10.0.0.1"}, "prefill engine's answer"),
    (["choices"], [], "one choice"),
    (["choices"], None, "one choice"),
    (["choices", 0, "text"], "  \n", "empty"),
    (["choices", 0, "text"], None, "empty"),
    (["choices", 0, "logprobs"], ..., "logprobs"),
    (["choices", 0, "finish_reason"], None, "finish_reason"),
    (["choices", 0, "finish_reason"], "error", "finish_reason"),
    (["usage"], None, "usage"),
    (["usage", "total_tokens"], 300, "add up"),
    (["usage", "completion_tokens"], ..., "token counts"),
    (["usage"], {"prompt_tokens": 199, "completion_tokens": 90, "total_tokens": 289}, "90 tokens"),
])  # fmt: skip
def test_a_departure_from_the_example_is_named(path, value, told):
    problems = shape_problems(changed(path, value), "completion", MODEL, 100)
    assert any(told in problem for problem in problems), problems


def test_a_prompt_of_another_length_than_the_tokenizers_fails():
    found = document_check(EXAMPLE, REQUEST, MODEL, 215)
    assert found.status == "FAIL"
    assert "the tokenizer counts 215" in found.text


def test_no_answer_is_told_as_it_is():
    found = document_check("router: HTTP 503: No available workers", REQUEST, MODEL, None)
    assert (found.status, found.text) == ("FAIL", "router: HTTP 503: No available workers")


def stream(*events, done=True, kind="text_completion"):
    made = [{"id": "c", "object": kind, **event} for event in events]
    return "".join(f"data: {json.dumps(one)}\n\n" for one in made) + ("data: [DONE]\n\n" if done else "")


def piece(text, finish=None, top=None):
    logprobs = {"tokens": [text], "top_logprobs": [top]} if top else None
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": logprobs}]}


def received(content_type, body):
    """The response that a client makes of these bytes."""
    answer = httpx.Response(200, headers={"content-type": content_type}, text=body)
    with EngineClient(transport=httpx.MockTransport(lambda _: answer)) as client:
        return client.stream("http://router/v1/completions", {}, limit_s=5)


def test_a_stream_is_put_together():
    body = stream(piece(" a"), piece(" b", "length"))
    response = received("text/event-stream; charset=utf-8", body)
    assert (streamed_text(response), stream_problems(response, "completion")) == (" a b", [])


def test_a_usage_event_without_choices_is_fine():
    body = stream(piece(" a", "length"), {"choices": [], "usage": {"total_tokens": 3}})
    assert stream_problems(received("text/event-stream", body), "completion") == []


@pytest.mark.parametrize(("content_type", "body", "told"), [
    ("application/json", stream(piece("a", "stop")), "text/event-stream"),
    ("text/event-stream", stream(piece("a", "stop"), done=False), "[DONE]"),
    ("text/event-stream", "data: {broken\n\n" + stream(piece("a", "stop")), "[DONE]"),
    ("text/event-stream", stream(piece("a", "stop")) + "data: [DONE]\n\n", "[DONE]"),
    ("text/event-stream", stream(piece("a")), "finish_reason"),
    ("text/event-stream", stream(piece("a", "stop"), kind="chat.completion.chunk"), "text_completion"),
    ("text/event-stream", stream(piece("a"), {"id": "y", **piece("b", "stop")}), "id changes"),
    ("text/event-stream", "", "[DONE]"),
])  # fmt: skip
def test_broken_framing_is_named(content_type, body, told):
    problems = stream_problems(received(content_type, body), "completion")
    assert any(told in problem for problem in problems), problems


def plain(*tokens):
    tops = [{token: -0.70, other: -0.71} for token, other in tokens]
    chosen = [token for token, _ in tokens]
    return {"choices": [{"text": "".join(chosen), "logprobs": {"tokens": chosen, "top_logprobs": tops}}]}


def test_a_stream_may_depart_from_the_plain_text_at_a_tie_only():
    answer = plain((" a", " z"), (" b", " y"))
    same = stream(
        piece(" a", None, {" a": -0.7, " z": -0.71}), piece(" b", "length", {" b": -0.7, " y": -0.71})
    )
    tie = stream(
        piece(" a", None, {" a": -0.7, " z": -0.71}), piece(" y", "length", {" y": -0.7, " b": -0.71})
    )
    for body, bound, status in ((same, 1e-3, "PASS"), (tie, 0.02, "PASS"), (tie, 1e-3, "FAIL")):
        assert stream_check("completion", answer, received("text/event-stream", body), bound).status == status


def test_a_lost_event_is_not_excused_by_equal_tokens():
    answer = plain((" a", " z"), (" b", " y"))
    body = stream(piece(" a", "length", {" a": -0.7, " z": -0.71}))
    assert stream_check("completion", answer, received("text/event-stream", body), 1.0).status == "FAIL"


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{"message": None}]}])
def test_an_answer_without_text_has_none(answer):
    assert text_of(answer) == ""
