"""What validation asks and how strict it is: `env/validation.yaml`, typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from heteropd.errors import BadInput

_FILE = Path("env/validation.yaml")
Positive = Annotated[int, Field(ge=1)]
Nats = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DocumentRequest(_Settings):
    """The source document's request, word for word."""

    prompt: Annotated[str, Field(min_length=1)]
    max_tokens: Positive
    temperature: int | float = Field(ge=0)


class Short(_Settings):
    """The short requests that are sent plain and streamed, and must answer alike."""

    prompt: Annotated[str, Field(min_length=1)]
    message: Annotated[str, Field(min_length=1)]
    max_tokens: Positive


class Probes(_Settings):
    """How many prompts, how long, and how they are sent. Lengths and budgets count prompt tokens.

    ``token_budget`` bounds what is added beyond the lengths that the block sizes call for; those are always
    sent. The ``again`` longest are sent a second time, to meet the prefix caches; ``each_pair`` go through
    every prefill and decode, where there are several. ``prefill_references`` are also computed by the
    prefill engine alone, which costs it a second prefill each; the decode engine alone
    computes them all, on time it would spend waiting.
    """

    least: Annotated[int, Field(ge=24)]
    token_budget: Positive
    max_tokens: Annotated[int, Field(ge=2, le=64)]
    top_logprobs: Annotated[int, Field(ge=2, le=20)]
    one_by_one: Positive
    again: Positive
    each_pair: Positive
    in_flight: Positive
    references_in_flight: Positive
    prefill_references: Annotated[int, Field(ge=8)]


class Noise(_Settings):
    """How far beyond the measured noise floor a disaggregated answer may be."""

    times_largest: Annotated[float, Field(ge=1)]
    times_median: Annotated[float, Field(ge=1)]


class NoiseLimits(_Settings):
    """Per dtype, in nats: differences never called a fault, and floors never called noise."""

    least_position: Nats
    least_run: Nats
    most_median: Nats
    most_position: Nats


class Waits(_Settings):
    """Seconds."""

    connect_s: Annotated[float, Field(gt=0)]
    request_s: Annotated[float, Field(gt=0)]
    metrics_s: Annotated[float, Field(gt=0)]


class Settings(_Settings):
    """Everything `validate.run` needs beside the plan."""

    request: DocumentRequest
    short: Short
    probes: Probes
    noise: Noise
    limits: dict[str, NoiseLimits]
    waits: Waits
    tokenizer_texts: Annotated[list[str], Field(min_length=1)]
    words: Annotated[list[str], Field(min_length=32)]

    @field_validator("limits")
    @classmethod
    def _has_fallback(cls, limits: dict[str, NoiseLimits]) -> dict[str, NoiseLimits]:
        if "bfloat16" not in limits:
            raise ValueError("bfloat16 is missing, which unlisted dtypes are judged as")
        return limits

    def limits_for(self, dtype: str) -> NoiseLimits:
        """The limits of a dtype; an unlisted one is judged as ``bfloat16``, the noisiest in use."""
        return self.limits.get(dtype) or self.limits["bfloat16"]


def load(root: Path) -> Settings:
    """Read and check ``root/env/validation.yaml``; raises `BadInput` naming the first field that is wrong."""
    where = _FILE.as_posix()
    try:
        data = yaml.safe_load((root / _FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise BadInput(where, None, None, f"cannot be read: {problem}", "restore it from git") from None
    except yaml.YAMLError as problem:
        raise BadInput(where, None, None, f"is not YAML: {problem}", "correct the syntax") from None
    try:
        return Settings.model_validate(data)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        fix = "docs/proof.md says what it means"
        raise BadInput(where, field, first.get("input"), first["msg"], fix) from None
