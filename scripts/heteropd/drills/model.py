"""What a drill saw, and whether the promise held."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from heteropd.findings import Finding

Status = Literal["held", "broken", "skipped"]


class Observation(Finding):
    """One thing that was seen. ``seconds`` after the fault, None where that says nothing."""

    seconds: float | None = None

    @computed_field(description="The former name of ``id``")  # type: ignore[prop-decorator]
    @property
    def what(self) -> str:
        return self.id

    @computed_field(description="The former name of ``text``")  # type: ignore[prop-decorator]
    @property
    def says(self) -> str:
        return self.text

    @computed_field  # type: ignore[prop-decorator]
    @property
    def good(self) -> bool:
        """Whether the promise held."""
        return not self.bad

    @model_validator(mode="before")
    @classmethod
    def _read_again(cls, data: Any) -> Any:
        """What was kept, of former runs of the kit too."""
        if not isinstance(data, dict) or "what" not in data:
            return data
        status = "PASS" if data.get("good", True) else "FAIL"
        return {"id": data["what"], "text": data["says"], "status": status, "seconds": data.get("seconds")}


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
