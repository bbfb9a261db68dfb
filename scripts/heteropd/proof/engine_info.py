"""What an engine says of itself: over its API, in its metrics, in its log."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from heteropd.config.validation import Settings
from heteropd.engine_api.client import AnswerProblem, Endpoint
from heteropd.engine_api.metrics import cache_config
from heteropd.engine_api.requests import Json

CHAT = "the chat"
# vLLM's names since 0.30: L layers, B blocks, N tokens, H heads, C content.
_LAYOUTS = {"LBNHC": "NHD", "LBHNC": "HND", "NHD": "NHD", "HND": "HND"}
_LAYOUT = re.compile(r"(?:Detected kv cache layout|Using) (\w+)(?: KV cache layout)?")
_DTYPE = re.compile(r"\bdtype=torch\.(\w+)")
_CHUNK = re.compile(r"max_num_batched_tokens=(\d+)")


@dataclass(frozen=True)
class LogFacts:
    """What a log says of the engine that it starts; None where it does not."""

    layout: str | None = None
    dtype: str | None = None
    chunk: int | None = None


def read_log(text: str | None) -> LogFacts:
    """The facts that vLLM logs while it starts; a later start in the same log wins."""
    text = text or ""
    layouts = [_LAYOUTS[name] for name in _LAYOUT.findall(text) if name in _LAYOUTS]
    dtypes, chunks = _DTYPE.findall(text), _CHUNK.findall(text)
    return LogFacts(
        layouts[-1] if layouts else None,
        dtypes[-1] if dtypes else None,
        int(chunks[-1]) if chunks else None,
    )


@dataclass(frozen=True)
class EngineInfo:
    """One engine; None where it did not say. ``tokens`` are ids by what was tokenised; ``no_chat`` is why
    there are none of the chat. ``cache`` are the labels of vllm:cache_config_info."""

    models: list[str]
    root: str | None
    max_model_len: int | None
    version: str | None
    tokens: Mapping[str, list[int]]
    no_chat: str | None = None
    cache: Mapping[str, str] = field(default_factory=dict)
    log: LogFacts = field(default_factory=LogFacts)

    @property
    def block_size(self) -> int | None:
        size = self.cache.get("block_size", "")
        return int(size) if size.isdigit() else None

    @property
    def prefix_caching(self) -> bool:
        return self.cache.get("enable_prefix_caching") == "True"


def texts_to_tokenize(settings: Settings) -> dict[str, str]:
    """What every engine tokenises, by a name for reports: all that is sent as text, and awkward texts."""
    short = settings.short
    return {
        **{repr(text): text for text in settings.tokenizer_texts},
        "the words of the probes": words_of(settings),
        "the document's prompt": settings.request.prompt,
        repr(short.prompt): short.prompt,
        repr(short.message): short.message,
    }


def words_of(settings: Settings) -> str:
    """All words that probes are made of, as one text."""
    return " " + " ".join(settings.words)


def messages_of(settings: Settings) -> list[Json]:
    """The chat that is sent."""
    return [{"role": "user", "content": settings.short.message}]


def describe(engine: Endpoint, model: str, settings: Settings, log: str | None) -> EngineInfo:
    """Ask one engine. Raises `AnswerProblem` when it does not list its models, or tokenises nothing."""
    listed = engine.models()
    served = next((entry for entry in listed if entry.get("id") == model), None)
    limit, tokens, no_chat = None, dict[str, list[int]](), None
    if served is not None:
        limit = served.get("max_model_len")
        texts = texts_to_tokenize(settings)
        tokens = {name: engine.tokenize(model, text) for name, text in texts.items()}
        try:
            tokens[CHAT] = engine.tokenize(model, messages_of(settings))
        except AnswerProblem as problem:
            no_chat = str(problem)
    try:
        version = str(engine.get_json("/version").get("version"))
    except AnswerProblem:
        version = None
    return EngineInfo(
        models=[str(entry.get("id")) for entry in listed],
        root=(served or {}).get("root"),
        max_model_len=limit if isinstance(limit, int) else None,
        version=version,
        tokens=tokens,
        no_chat=no_chat,
        cache=cache_config(engine.metrics()),
        log=read_log(log),
    )
