"""What validation concluded, with the numbers it concluded from. Plain data, JSON-serialisable."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from heteropd.console.findings import summary
from heteropd.findings import Evidence, Finding

Outcome = Literal["equal", "tie", "far", "diverged", "unknown", "error"]
Sent = Literal["one by one", "together", "again"]

_STANDIN_NOTE = (
    "STAND-IN RUN: at least one role ran on a CPU in place of its accelerator. It proves the software path: "
    "engines, connector, NIXL, router{conversion}. It does not prove the accelerators, their drivers, their "
    "attention kernels, RDMA, or any speed."
)
_MIXED_NOTE = (
    "MIXED RUN: {real} is real, {standins} ran on a CPU in place of its accelerator. It proves the software "
    "path, and the real side's driver, attention kernels and memory as NIXL reads and writes it{conversion}. "
    "It does not prove the accelerator that is replaced, RDMA, or any speed."
)
_GEOMETRY = ("identity.block_size", "identity.layout", "identity.dtype")


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


def measured(check_id: str, right: bool, text: str, evidence: Evidence, fix: str) -> Check:
    """PASS or FAIL with one text, which holds the numbers for both."""
    return checked(check_id, None if right else text, text, evidence, fix)


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


def geometry_seen(checks: Sequence[Check]) -> str:
    """What the engines were seen to have: block sizes, layouts, data types; empty for nothing."""
    return "; ".join(check.text for check in checks if check.id in _GEOMETRY and check.status == "PASS")


def standin_note(checks: Sequence[Check], real: Mapping[str, str], standins: Sequence[str] = ()) -> str:
    """What a run on stand-ins proves, perhaps with ``real`` engines beside them. The conversion is claimed
    where the engines were seen to differ so."""
    status = {check.id: check.status for check in checks}
    seen = all(status.get(name) == "PASS" for name in _GEOMETRY[:2])
    conversion = ", and the conversion between the two KV layouts and block sizes"
    if not real:
        return _STANDIN_NOTE.format(conversion=conversion if seen else "")
    names = ", ".join(f"{name} on {platform}" for name, platform in real.items())
    return _MIXED_NOTE.format(real=names, standins=", ".join(standins), conversion=conversion if seen else "")


class Floor(_VerdictData):
    """The noise when no KV is exchanged, and the bounds made from it.

    All figures are differences of natural-log probabilities (nats). ``probes``, ``positions``, ``median``,
    ``p90`` and ``maximum`` are of the two engines against each other; ``warm_*`` of one engine against
    itself, when it has most of a prompt in its prefix cache and computes the rest in other company.
    ``positions`` counts those at which both had the same context; None stands for "not measured".
    """

    dtype: str
    probes: int
    positions: int
    median: float | None
    p90: float | None
    maximum: float | None
    warm_probes: int = 0
    warm_median: float | None = None
    warm_maximum: float | None = None
    position_bound: float | None
    run_bound: float | None


class ProbeResult(_VerdictData):
    """One prompt's way through the topology, against each engine alone.

    ``distance`` and ``mean`` are the largest and the average log-probability difference (nats) over aligned
    positions, against the worse of the two references. ``diverged_at`` is the first generated position whose
    token differs, and ``gap`` is how much likelier the reference found its own token there. Where a second
    opinion found the answer right, the figures are against that; ``first_distance`` is what it was before.
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
    first_distance: float | None = None
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
    real: dict[str, str] = Field(
        default_factory=dict, description="Engines that were no stand-ins, beside those that were: platforms"
    )
    thorough: bool = False
    elsewhere: bool = Field(default=False, description="The kit did not start it: what it runs on is unknown")
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

    @property
    def largest(self) -> float | None:
        """The largest log-probability difference (nats) of all probes."""
        return max((probe.distance for probe in self.probes if probe.distance is not None), default=None)

    @property
    def ran_on(self) -> str:
        """What the engines ran on, as far as anybody knows."""
        if self.elsewhere:
            return "not started by the kit, so what it runs on is unknown"
        if self.real:
            names = ", ".join(f"{name} on {platform}" for name, platform in self.real.items())
            return f"MIXED: {names} real, the rest CPU STAND-IN"
        return "CPU STAND-IN, not the hardware" if self.standin else "on hardware"

    def headline(self) -> str:
        """One line for the terminal, honest about what the engines ran on."""
        how = ", thorough" if self.thorough else ""
        text = f"{self.result} {self.case} ({self.ran_on}{how}): {summary(self.checks)}"
        unseen = [check.id for check in self.checks if check.id in _GEOMETRY and check.status == "SKIP"]
        text += (
            f"; not seen of the engines: {', '.join(name.split('.')[1] for name in unseen)}" if unseen else ""
        )
        first = next(iter(self.failures()), None)
        return f"{text}; first failure {first.id}: {first.text}" if first else text
