"""What the benchmarks do and aim at: env/bench.yaml, and what the command line changes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import yaml
from pydantic import Field, PositiveInt, model_validator

from heteropd.config import problems, yamlfile
from heteropd.config.types import Data, HostFile, Name, StandinName
from heteropd.errors import BadInput

FILE = "env/bench.yaml"
COMMAND_LINE = "command line"

Case = Annotated[str, Field(description="Case that is run")]
Rounds = Annotated[int, Field(ge=1, le=20, description="Times that everything is measured, in turns")]
WarmUp = Annotated[float, Field(ge=0, description="Seconds of traffic before each measurement")]
Measured = Annotated[float, Field(gt=0, description="Seconds of each measurement")]


class RouterSettings(Data):
    """The router benchmark. Times are for one measurement: one way in, one number of clients, one round."""

    clients: list[PositiveInt] = Field(
        min_length=1, description="Clients that send at the same time, each measured"
    )
    rounds: Rounds
    warmup_s: WarmUp
    measure_s: Measured
    limit_s: float = Field(gt=0, description="No new round starts when it would end later than this")
    max_tokens: int = Field(ge=1, description="Tokens that every request makes")
    throughput_ratio: float = Field(gt=0, description="Aim: router over proxy, requests a second")


class EnginesSettings(Data):
    """The engines benchmark."""

    case: Case
    rounds: Rounds
    clients: int = Field(ge=1, description="Clients of an engine; each has one request under way")
    max_tokens: int = Field(ge=2, le=1024, description="Tokens that every request makes")
    warmup_s: WarmUp
    measure_s: Measured
    tokens_ratio: float = Field(gt=0, description="Aim: tokens a second side by side over alone")


class BringupSettings(Data):
    """The bringup benchmark."""

    case: Case
    rounds: Rounds
    cold: bool = Field(
        default=False, description="Measure a clean clone instead, with empty caches of the kit"
    )
    ready_ratio: float = Field(gt=0, description="Aim: warm bring-up to ready over the bare start")
    verdict_ratio: float = Field(gt=0, description="Aim: warm bring-up to verdict over the bare start")
    cold_s: float = Field(gt=0, description="Aim: cold to verdict, beyond downloads")


class KvSettings(Data):
    """The KV benchmark."""

    case: Case
    standin: StandinName = Field(description="Platforms whose places CPU stand-ins take")
    engine_python: HostFile | None = Field(default=None, description="Python with vLLM, for the real engine")
    blocks: list[PositiveInt] = Field(
        min_length=1, description="Tokens a block of the side whose blocks travel"
    )
    tokens: list[PositiveInt] = Field(min_length=1, description="Lengths of prompts, each measured")
    rounds: Rounds
    raw_ratio: float = Field(gt=0, description="Aim: hand-over over the transport alone, bytes a second")


class Objective(Data):
    """How quick a request has to be to count for goodput."""

    ttft_s: float = Field(gt=0, description="Most seconds until its first token")
    itl_s: float = Field(gt=0, description="Most seconds between its tokens, on average")


class Shape(Data):
    """A kind of request, in tokens of the model that is served."""

    name: Name
    prompt_tokens: int = Field(ge=1)
    output_tokens: int = Field(ge=2)
    spread: float = Field(default=0.0, ge=0, lt=1, description="Part by which lengths of prompts vary")


class LoadProfile(Data):
    """What traffic the load benchmark makes. Shapes are sent in turns."""

    title: str
    mode: Literal["concurrent", "poisson"] = Field(
        description="Clients in a closed loop, or requests that arrive at random"
    )
    levels: list[float] = Field(min_length=1, description="Clients, or requests a second; each measured")
    requests: int = Field(ge=1, description="Requests of a level")
    shapes: list[Shape] = Field(min_length=1)
    objective: Objective


class LoadSettings(Data):
    """The load benchmark."""

    profile: Name = Field(description="Traffic: one of `profiles` of env/bench.yaml")
    verdict_age_s: float = Field(ge=0, description="A verdict this old at most counts as the one before")
    requests: PositiveInt | None = Field(default=None, description="Requests of a level, not the profile's")


class SoakSettings(Data):
    """The soak: steady traffic through what runs."""

    minutes: float = Field(gt=0, description="How long")
    clients: int = Field(ge=1, le=1024, description="Clients that send at the same time, in a closed loop")
    shortest: int = Field(ge=1, description="Tokens of the shortest prompt")
    longest: int = Field(ge=1, description="Tokens of the longest; the same as the shortest: one length")
    output_tokens: int = Field(ge=1, description="Tokens of every answer")
    known: int = Field(ge=1, description="Prompts whose answers are known, of the decode alone")
    known_share: float = Field(ge=0, le=1, description="Part of the requests that are such prompts")
    sample_s: float = Field(gt=0, description="Seconds between two looks at the processes")
    growth_mib: float = Field(ge=0, description="MiB a minute that a role may grow by in the second half")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.shortest > self.longest:
            problem = f"longest is {self.longest}, and shortest is {self.shortest}"
            raise ValueError(f"{problem}; make longest the same or more")
        return self


class BenchSettings(Data):
    """env/bench.yaml."""

    prompt: str = Field(min_length=1, description="The source document's prompt: what every request carries")
    router: RouterSettings
    engines: EnginesSettings
    bringup: BringupSettings
    kv: KvSettings
    load: LoadSettings
    soak: SoakSettings
    plain_router: list[str] = Field(
        min_length=1, description="A router of whole requests; the engines' URLs come after it"
    )
    profiles: dict[Name, LoadProfile] = Field(description="Traffic of the load benchmark, by name")

    def load_profile(self) -> LoadProfile:
        """The traffic that `load` names, with as many requests as it says."""
        profile = self.profiles[self.load.profile]
        return profile.model_copy(update={"requests": self.load.requests or profile.requests})


Section = TypeVar("Section", bound=Data)


def load(root: Path) -> BenchSettings:
    """env/bench.yaml, validated. Raises BadInput."""
    return yamlfile.load(BenchSettings, root / FILE, root)


def changed(section: Section, given: Mapping[str, str | bool]) -> Section:
    """The section with what is ``given`` over its fields; a list's values are joined by commas.

    Raises BadInput for an unknown name, or a value that the field refuses.
    """
    for name in (name for name in given if name not in type(section).model_fields):
        problem, fix = "is for another what=", "`make bench help=1` says for which"
        raise BadInput(COMMAND_LINE, name, given[name], problem, fix)
    values = {name: _value(value, like=getattr(section, name, None)) for name, value in given.items()}
    return problems.validate(type(section), {**section.model_dump(), **values}, COMMAND_LINE)


def _value(text: str | bool, like: object) -> object:
    if isinstance(like, list):
        return [_scalar(part) for part in str(text).split(",")]
    return text if isinstance(like, str) or isinstance(text, bool) else _scalar(text)


def _scalar(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
