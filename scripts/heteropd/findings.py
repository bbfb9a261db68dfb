"""A finding: what any check says, be it a rule of a plan, the doctor, the proof or a test of an image."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["PASS", "WARN", "FAIL", "SKIP"]
Evidence = dict[str, str | int | float | bool | list[int] | list[float] | list[str] | None]
ORDER: tuple[Status, ...] = ("FAIL", "WARN", "SKIP", "PASS")


class Finding(BaseModel):
    """One question and its answer.

    ``place`` is what was looked at: a host, two hosts, a role, an image; empty where there is only one.
    ``fix`` is what to do about it, ``threads`` where others met it. SKIP means "could not be looked at"
    and never counts as PASS.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    id: str
    status: Status
    text: str
    place: str = ""
    fix: str | None = None
    evidence: Evidence = Field(default_factory=dict)
    threads: tuple[str, ...] = ()

    @property
    def bad(self) -> bool:
        """True for what should be looked at: FAIL and WARN."""
        return self.status in ("FAIL", "WARN")


def counted(findings: list[Finding]) -> dict[Status, int]:
    """How many there are of each status, worst first; statuses that nobody has are left out."""
    counts = {status: sum(finding.status == status for finding in findings) for status in ORDER}
    return {status: count for status, count in counts.items() if count}
