"""What validation concluded, with the numbers it concluded from. Plain data, JSON-serialisable."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from heteropd.console.findings import summary
from heteropd.findings import Evidence, Finding

Outcome = Literal["equal", "tie", "far", "diverged", "unknown", "error"]
Sent = Literal["one by one", "together", "again"]

STANDIN_NOTE = (
    "STAND-IN RUN: at least one role ran on a CPU in place of its accelerator. It proves the software path: "
    "engines, connector, NIXL, router, and the conversion between the two KV layouts and block sizes. It "
    "does not prove the accelerators, their drivers, their attention kernels, RDMA, or any speed."
)


def _without_computed(model: type[BaseModel], data: Any) -> Any:
    """What was written of a model, without what follows from it."""
    if not isinstance(data, dict):
        return data
    return {name: value for name, value in data.items() if name not in model.model_computed_fields}


class _VerdictData(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Check(Finding):
    """A finding of the proof. ``essential``: without a PASS here there is no PASS overall."""

    essential: bool = True

    @computed_field  # type: ignore[prop-decorator]
    @property
    def group(self) -> str:
        """What it is about: the first word of its id."""
        return self.id.partition(".")[0]

    @computed_field(description="The former name of ``text``")  # type: ignore[prop-decorator]
    @property
    def says(self) -> str:
        return self.text

    @computed_field(description="The former name of ``fix``")  # type: ignore[prop-decorator]
    @property
    def mend(self) -> str | None:
        return self.fix

    @model_validator(mode="before")
    @classmethod
    def _read_again(cls, data: Any) -> Any:
        return _without_computed(cls, data)


def checked(
    check_id: str, problem: str | None, good: str, evidence: Evidence | None = None, fix: str = ""
) -> Check:
    """FAIL where there is a problem, with the fix; else PASS, saying what is good."""
    return Check(
        id=check_id,
        status="FAIL" if problem else "PASS",
        text=problem or good,
        evidence=evidence or {},
        fix=fix if problem else None,
    )


def skipped(
    check_id: str,
    text: str,
    *,
    essential: bool = False,
    evidence: Evidence | None = None,
    fix: str | None = None,
) -> Check:
    """What could not be looked at; ``essential``: the proof is incomplete without it."""
    return Check(id=check_id, status="SKIP", text=text, essential=essential, evidence=evidence or {}, fix=fix)


class Floor(_VerdictData):
    """The noise between the two engines when neither uses the other's KV, and the bounds made from it.

    All figures are differences of natural-log probabilities (nats). ``positions`` counts the token positions
    at which both engines had the same context; None stands for "not measured".
    """

    dtype: str
    probes: int
    positions: int
    median: float | None
    p90: float | None
    maximum: float | None
    position_bound: float | None
    run_bound: float | None


class ProbeResult(_VerdictData):
    """One prompt's way through the topology, against each engine alone.

    ``distance`` and ``mean`` are the largest and the average log-probability difference (nats) over aligned
    positions, against the worse of the two references. ``diverged_at`` is the first generated position whose
    token differs, and ``gap`` is how much likelier the reference found its own token there.
    """

    index: int
    prompt_tokens: int
    sent: Sent
    prefill_blocks: int
    decode_blocks: int
    wire_blocks: int
    outcome: Outcome
    against: list[str] = Field(default_factory=list)
    diverged_at: int | None = None
    gap: float | None = None
    distance: float | None = None
    mean: float | None = None
    error: str | None = None


class Phase(_VerdictData):
    """A named stretch of the run; phases overlap, since both engines are kept busy."""

    name: str
    started_s: float
    seconds: float


class Verdict(_VerdictData):
    """The conclusion. ``result`` is INCOMPLETE when nothing failed but something essential went unchecked."""

    case: str
    model: str
    started_at: datetime
    seconds: float
    standin: bool
    note: str | None
    fingerprint: str
    versions: dict[str, str]
    request: dict[str, str | int | float]
    answer: str | None = None
    checks: list[Check]
    floor: Floor | None = None
    probes: list[ProbeResult] = Field(default_factory=list)
    phases: list[Phase] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _read_again(cls, data: Any) -> Any:
        return _without_computed(cls, data)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def result(self) -> Literal["PASS", "FAIL", "INCOMPLETE"]:
        if any(check.status == "FAIL" for check in self.checks):
            return "FAIL"
        if not self.checks or any(check.essential and check.status == "SKIP" for check in self.checks):
            return "INCOMPLETE"
        return "PASS"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        return self.result == "PASS"

    def failures(self) -> list[Check]:
        return [check for check in self.checks if check.status == "FAIL"]

    def headline(self) -> str:
        """One line for the terminal, honest about what the engines ran on."""
        ran = "CPU STAND-IN, not the hardware" if self.standin else "on hardware"
        text = f"{self.result} {self.case} ({ran}): {summary(self.checks)}"
        first = next(iter(self.failures()), None)
        return f"{text}; first failure {first.id}: {first.text}" if first else text
