"""What validation asks and how strict it is: `env/validation.yaml`, typed."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from heteropd.config import yamlfile
from heteropd.config.types import Data

FILE = "env/validation.yaml"
Positive = Annotated[int, Field(ge=1)]
Nats = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0)]


class DocumentRequest(Data):
    """The source document's request, word for word."""

    prompt: Annotated[str, Field(min_length=1)]
    max_tokens: Positive
    temperature: int | float = Field(ge=0)


class Short(Data):
    """The short requests that are sent plain and streamed, and must answer alike."""

    prompt: Annotated[str, Field(min_length=1)]
    message: Annotated[str, Field(min_length=1)]
    max_tokens: Positive


class Probes(Data):
    """How many prompts, how long, and how they are sent. Lengths and budgets count prompt tokens.

    ``token_budget`` bounds what is added beyond the lengths that the block sizes call for; those are always
    sent. ``long`` goes beyond them; one near max_model_len is sent where computing it is expected to take no
    longer than ``longest_s``, or when asked to be thorough. The ``again`` longest are sent a second time, to
    meet the prefix caches; where no more than ``second_opinions`` are beyond the noise, the decode alone is
    asked for these once more, in the shape of a hand-over; ``each_pair`` go through every prefill and decode,
    where there are several.
    ``prefill_references`` are also computed by the prefill engine alone, cold and once more from its prefix
    cache; the decode engine alone computes all prompts, on time it would spend waiting.
    """

    least: Annotated[int, Field(ge=24)]
    token_budget: Positive
    long: Positive
    longest_s: Seconds
    max_tokens: Annotated[int, Field(ge=2, le=64)]
    top_logprobs: Annotated[int, Field(ge=2, le=20)]
    one_by_one: Positive
    again: Positive
    second_opinions: Positive
    each_pair: Positive
    in_flight: Positive
    references_in_flight: Positive
    prefill_references: Annotated[int, Field(ge=8)]


class Noise(Data):
    """How far beyond the measured noise floor a disaggregated answer may be."""

    times_largest: Annotated[float, Field(ge=1)]
    times_median: Annotated[float, Field(ge=1)]


class NoiseLimits(Data):
    """Per dtype, in nats: differences never called a fault, and floors never called noise."""

    least_position: Nats
    least_run: Nats
    most_median: Nats
    most_position: Nats


class Waits(Data):
    """Seconds, for: a role's health or a page of metrics; an engine's first token; the end of requests of
    others; any progress at all; one answer; a counter that is published late. ``lease_s`` is the shortest
    time for which a prefill keeps KV that nobody fetches."""

    health_s: Seconds
    first_token_s: Seconds
    idle_s: Seconds
    stall_s: Seconds
    request_s: Seconds
    metrics_s: Seconds
    lease_s: Seconds


class Settings(Data):
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
            raise ValueError("bfloat16 is missing, which unlisted dtypes are judged as; add it")
        return limits

    def limits_for(self, dtype: str) -> NoiseLimits:
        """The limits of a dtype; an unlisted one is judged as ``bfloat16``, the noisiest in use."""
        return self.limits.get(dtype) or self.limits["bfloat16"]


def load(root: Path) -> Settings:
    """Read and check ``root/env/validation.yaml``. Raises BadInput for the first field that is wrong."""
    return yamlfile.load(Settings, root / FILE, root)
