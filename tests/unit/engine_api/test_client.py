"""What a client gets, told apart: whole, refused, cut off, late."""

import pytest
from api_server import END, completion, event, step

from heteropd.engine_api.client import COMPLETIONS, EngineClient

BODY = {"prompt": [1, 2]}
STEPS = [step("token_id:1"), step("token_id:2")]


@pytest.fixture
def client():
    with EngineClient() as made:
        yield made


def streamed(client, server, limit_s=5.0):
    counts = []
    url = server.url + COMPLETIONS
    return client.stream(url, BODY, limit_s=limit_s, on_token=counts.append), counts


def test_a_whole_answer_has_its_tokens(client, server):
    server.chunks = [completion(STEPS, kv_transfer_params={"a": 1})]
    answer = client.complete(server.url, BODY, limit_s=5.0)
    assert (answer.kind, [step.token for step in answer.steps]) == ("whole", ["token_id:1", "token_id:2"])
    assert answer.json["kv_transfer_params"] == {"a": 1}
    assert answer.short == "HTTP 200, 2 tokens"


def test_an_error_is_told_with_its_status_and_words(client, server):
    server.code, server.chunks = 503, [b"No available workers:\n 0 prefill"]
    answer = client.complete(server.url, BODY, limit_s=5.0)
    assert (answer.kind, answer.short) == ("refused", "HTTP 503: No available workers: 0 prefill")
    assert streamed(client, server)[0].short == answer.short


def test_200_without_tokens_is_no_answer(client, server):
    server.chunks = [b'{"error": "none"}']
    assert client.complete(server.url, BODY, limit_s=5.0).kind == "refused"


def test_nobody_there(client, server):
    server.close()
    for answer in (client.complete(server.url, BODY, limit_s=5.0), streamed(client, server)[0]):
        assert (answer.kind, answer.code) == ("refused", None)
        assert "refused" in answer.short


def test_silence_is_late_and_bounded(client, server):
    server.silent = True
    for answer in (client.complete(server.url, BODY, limit_s=0.2), streamed(client, server, 0.2)[0]):
        assert answer.kind == "late"
        assert answer.ended - answer.began < 5


def test_a_stream_with_both_marks_of_its_end_is_whole(client, server):
    server.chunks = [event(STEPS[:1]), event(STEPS[1:], "length"), END]
    answer, counts = streamed(client, server)
    assert (answer.kind, len(answer.steps), counts) == ("whole", 2, [1, 2])
    assert server.asked[0]["stream"] is True


def test_a_stream_that_breaks_off_is_cut(client, server):
    server.chunks, server.breaks = [event(STEPS[:1])], True
    answer, _ = streamed(client, server)
    assert (answer.kind, answer.code, len(answer.steps)) == ("cut", 200, 1)
    assert "cut off after 1 tokens" in answer.short


def test_a_stream_that_ends_as_if_nothing_were_wrong_is_cut_too(client, server):
    server.chunks = [event(STEPS[:1])]
    assert streamed(client, server)[0].short.endswith("(the stream ends without [DONE] and finish_reason)")
    server.chunks = [event(STEPS[:1], "length")]
    assert streamed(client, server)[0].short.endswith("(the stream ends without [DONE])")


def test_an_error_in_a_stream_that_ends_with_done_is_told(client, server):
    """What vLLM sends when its engine has died: HTTP 200, an error among the tokens, and [DONE]."""
    server.chunks = [event(STEPS[:1]), b'data: {"error": {"message": "EngineCore died"}}\n\n', END]
    answer, _ = streamed(client, server)
    assert answer.kind == "cut"
    assert 'ends without finish_reason, an error in it: {"message": "EngineCore died"}' in answer.text
