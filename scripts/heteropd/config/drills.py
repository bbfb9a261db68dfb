"""What `drill` does to a running topology, in words that its reports and docs/operations.md share."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from heteropd.config import yamlfile
from heteropd.config.types import Data, EngineRole, Name, RuntimeName

Need = Literal["hosts", "root"]
Positive = Annotated[int, Field(ge=1)]


class DrillRequests(Data):
    """What is asked of the topology before, during and after each fault. Counts are tokens."""

    prompt: Annotated[int, Field(ge=16, description="Prompt of a short request")]
    answer: Positive
    stream: Annotated[int, Field(ge=8, description="Answer of the request that a fault meets half-way")]
    long_prompt: Annotated[int, Field(ge=256, description="Prompt that takes a prefill a noticeable time")]
    references: Annotated[int, Field(ge=2, description="Short prompts whose healthy answers are known")]
    top_logprobs: Annotated[int, Field(ge=2, le=20)]


class DrillEntry(Data):
    """One fault. ``sees`` is what a client gets, ``kit`` what the kit does, ``recover`` how it is fixed."""

    title: str = Field(description="The fault")
    sees: str
    kit: str
    recover: str
    bound_s: float | None = Field(
        default=None, gt=0, description="Seconds within which each request must have an answer or an error"
    )
    kills: list[EngineRole | Literal["router"]] = Field(
        default_factory=list, description="Of which roles the first is killed"
    )
    runtimes: list[RuntimeName] = Field(default=["process", "docker"], min_length=1)
    needs: list[Need] = Field(
        default_factory=list,
        description="hosts: prefill and decode on hosts that are reached over ssh; root: on this machine",
    )
    instead: str | None = Field(default=None, description="Why `drill` does not perform it, and what does")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if (self.bound_s is None) != (self.instead is not None):
            raise ValueError(
                "says neither or both of bound_s and instead; a drill that is performed has a bound"
            )
        return self


class Drills(Data):
    """env/drills.yaml."""

    asked: DrillRequests
    lease_s: float = Field(gt=0, description="Seconds for which a prefill keeps KV that nobody fetches")
    drills: dict[Name, DrillEntry] = Field(min_length=1)


def load(root: Path) -> Drills:
    """Read and check ``root/env/drills.yaml``. Raises BadInput for the first field that is wrong."""
    return yamlfile.load(Drills, root / "env" / "drills.yaml", root)
