"""What is sent: prompts that no cache knows, and guidellm's scenario for one level of an arm."""

from collections.abc import Sequence
from random import Random
from typing import Any

from heteropd.config.bench import LoadProfile
from heteropd.engine_api.client import COMPLETIONS, Endpoint

Row = dict[str, Any]


def rows(
    engine: Endpoint, model: str, words: Sequence[str], profile: LoadProfile, seeds: tuple[str, str]
) -> list[Row]:
    """The requests of one level, shapes in turns. Raises `AnswerProblem`.

    ``seeds`` decide their lengths, and their words: those should be new each time, since an engine that
    served the same load before has it in its prefix cache. Prompts are cut by the engine's own tokenizer, so
    none of the model's files has to be here.
    """
    lengths, choice = map(Random, seeds)
    made = []
    for number in range(profile.requests):
        shape = profile.shapes[number % len(profile.shapes)]
        size = round(shape.prompt_tokens * lengths.uniform(1 - shape.spread, 1 + shape.spread))
        text = " ".join(choice.choices(words, k=size + 1))  # a word is a token at least
        tokens = engine.tokenize(model, text, special=False)[:size]
        cut = engine.post("/detokenize", {"model": model, "tokens": tokens})["prompt"]
        made.append({"prompt": cut, "output_tokens_count": shape.output_tokens})
    return made


def scenario(url: str, model: str, profile: LoadProfile, value: float, requests: list[Row]) -> Row:
    """guidellm's arguments. It ends with the last answer: what it cancelled would leave a lease behind."""
    modes = {
        "concurrent": {"kind": "concurrent", "streams": [round(value)]},
        "poisson": {"kind": "poisson", "rate": [value]},
    }
    return {
        "backend": {
            "kind": "openai_http",
            "target": url,
            "model": model,
            "request_format": COMPLETIONS,
            "http2": False,
            "extras": {"body": {"temperature": 0}},
        },
        "profile": modes[profile.mode],
        "constraints": [{"kind": "max_requests", "count": len(requests)}],
        "data": [{"kind": "in_memory_dict_list", "data": requests}],
        "outputs": [],
    }
