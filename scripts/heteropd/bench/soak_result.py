"""What a soak saw, and what it concluded. Plain data, JSON-serialisable."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from heteropd.config.bench import SoakSettings
from heteropd.findings import Finding


class Sample(BaseModel):
    """One look: MiB that each role's processes share with nobody (None where this machine does not see them),
    and what came of requests so far."""

    at_s: float
    memory_mib: dict[str, float | None]
    requests: int
    failed: int
    known: int
    differs: int


class SoakResult(BaseModel):
    """.heteropd/bench/soak-TIME.json."""

    what: Literal["soak"] = "soak"
    started: datetime
    seconds: float
    case: str
    standin: bool
    machine: dict[str, Any]
    settings: SoakSettings
    samples: list[Sample]
    problems: list[str]
    findings: list[Finding]

    @property
    def passed(self) -> bool:
        return not any(finding.status == "FAIL" for finding in self.findings)
