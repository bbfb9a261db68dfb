"""What a drill saw, and whether the promise held."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["held", "broken", "skipped"]


class Observation(BaseModel):
    """One thing that was seen. ``seconds`` after the fault, None where that says nothing."""

    model_config = ConfigDict(frozen=True)

    what: str
    says: str
    good: bool = True
    seconds: float | None = None


class DrillResult(BaseModel):
    """One drill. ``answered_s``: the longest that a request took, from the fault on if it was sent before;
    ``fixed_s``: what `restart` and a probe of all known answers took."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: Status
    case: str
    runtime: str
    standin: bool
    hosts: int
    at: datetime
    seconds: float = 0.0
    why: str | None = Field(None, description="Why it was skipped")
    seen: list[Observation] = Field(default_factory=list)
    answered_s: float | None = None
    fixed_s: float | None = None

    @property
    def broken(self) -> list[Observation]:
        return [observation for observation in self.seen if not observation.good]


class CannotBePerformed(Exception):
    """Here and now; the message says why, and the drill counts as skipped."""
