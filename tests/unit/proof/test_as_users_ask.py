"""A text without log-probabilities, against an engine's own answer that has them."""

import pytest

from heteropd.proof.as_users_ask import judge_text


def reference(*steps, finish="stop"):
    """An engine's answer: for each token, its text and the alternatives with their log-probabilities."""
    tokens = [token for token, _ in steps]
    offsets = [sum(map(len, tokens[:at])) for at in range(len(tokens))]
    tops = [{token: -0.5, **others} for token, others in steps]
    logprobs = {"tokens": tokens, "text_offset": offsets, "top_logprobs": tops}
    return {"choices": [{"text": "".join(tokens), "logprobs": logprobs, "finish_reason": finish}]}


OWN = reference(
    (" The", {" A": -3.0}),
    (" sea", {" seas": -0.51, " sky": -0.52}),
    (" is", {" was": -0.7, "": -0.5}),
    (" caf\u00e9", {" \u00fcber": -0.5, "\ufffd": -0.55}),
)


@pytest.mark.parametrize(("text", "bound", "outcome"), [
    (" The sea is caf\u00e9", 1e-3, "equal"),
    (" The sky was grey", 0.02, "tie"),
    (" The sky was grey", 0.005, "diverged"),
    (" The seas are", 0.02, "tie"),  # parts within the next token: the one before has the alternative
    (" The sea was caf\u00e9", 0.05, "diverged"),
    (" The sea was caf\u00e9", 0.15, "tie"),
    (" Zzz", 10.0, "diverged"),  # no alternative at all
    (" The sea is", 10.0, "diverged"),  # ends early
    (" The sea is caf\u00e9 and", 10.0, "diverged"),  # goes on
    (" The sea is caf\u00e8", 0.1, "tie"),  # a character of several tokens: any alternative may have been it
    (" The sea is caf\u00e8", 0.01, "tie"),
    ("", 10.0, "diverged"),
])  # fmt: skip
def test_a_text_is_the_engines_own_up_to_a_tie(text, bound, outcome):
    assert judge_text(text, OWN, bound) == outcome


def test_a_reference_may_be_the_beginning_only():
    beginning = reference((" The", {}), (" sea", {}), finish="length")
    assert judge_text(" The sea is", beginning, 1e-3) == "equal"
    assert judge_text(" The sky is", beginning, 1e-3) == "diverged"
    assert judge_text(" The", beginning, 1e-3) == "diverged"


def test_without_log_probabilities_only_the_same_text_will_do():
    bare = {"choices": [{"text": " a", "logprobs": None}]}
    assert judge_text(" a", bare, 1.0) == "equal"
    assert judge_text(" b", bare, 1.0) == "diverged"
