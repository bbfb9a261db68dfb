"""What the load benchmark measured, and whether it may be believed. Plain data, JSON-serialisable."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, computed_field

from heteropd.bench.figures import percentile
from heteropd.config.bench import LoadProfile, Objective

ArmName = Literal["pd", "aggregated"]


class _LoadData(BaseModel):
    # What is computed of a level is written beside it, and ignored where a result is read again.
    model_config = ConfigDict(frozen=True, extra="ignore")


class RequestResult(_LoadData):
    """One request as its client saw it. Times are None where there was no token to take them from."""

    started_s: float = Field(description="Seconds after the level's start")
    prompt_tokens: int = Field(description="As the engine counted them")
    output_tokens: int
    ttft_s: float | None = Field(description="Until the first token")
    itl_s: float | None = Field(description="Mean time between its tokens; None with fewer than two")
    e2e_s: float | None = Field(description="Until the last token")
    ok: bool
    error: str | None = None

    def meets(self, objective: Objective) -> bool:
        """True when it is as quick as the objective wants it."""
        itl = 0.0 if self.itl_s is None else self.itl_s
        return self.ok and (self.ttft_s or 0.0) <= objective.ttft_s and itl <= objective.itl_s


class Latencies(_LoadData):
    """Seconds over the requests of a level; nearest-rank percentiles."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Self | None:
        """None where nothing was measured."""
        ordered = sorted(value for value in values if value is not None)
        if not ordered:
            return None
        ranks = {f"p{rank}": percentile(ordered, rank) for rank in (50, 90, 95, 99)}
        mean = sum(ordered) / len(ordered)
        return cls(count=len(ordered), mean=mean, maximum=ordered[-1], **ranks)


class KvEvidence(_LoadData):
    """What the engines' metrics counted during a level: how the KV travelled, or that none did.

    None: the engines have no such metric. ``expected_bytes``: blocks of all prompts x bytes of a block.
    """

    transfers: int | None
    bytes: int | None
    expected_bytes: int | None = Field(description="None where the model's configuration is unknown")
    descriptors: int | None
    handover_s: float | None = Field(description="Seconds of all transfers together")
    post_s: float | None = Field(description="Of it, seconds until they were posted")
    failed_transfers: int | None
    failed_notifications: int | None
    expired: int | None = Field(description="Leases of the prefill that ran out")
    late_notifications: int | None
    recomputed_tokens: int | None = Field(description="Prompt tokens that the decode computed itself")
    external_tokens: int | None = Field(description="Prompt tokens that the decode took from the prefill")
    cached_tokens: int | None = Field(description="Prompt tokens found in local prefix caches")
    prefill_requests: int | None = Field(description="Requests that the prefill engines served")
    decode_requests: int | None
    digests_equal: int | None = None
    digests_differs: int | None = None


class Level(_LoadData):
    """One arm at one concurrency (clients in a closed loop) or rate (requests a second that arrive)."""

    value: float = Field(description="Clients, or requests a second: see the profile's `mode`")
    started: datetime
    seconds: float = Field(description="From the first request's start to the last one's end")
    requests: list[RequestResult]
    objective: Objective
    kv: KvEvidence
    cores_engines: float | None = Field(description="Cores that the engines used; None where not local")
    cores_others: float = Field(description="Cores that programs used which are not of this benchmark")

    @property
    def good(self) -> list[RequestResult]:
        return [request for request in self.requests if request.ok]

    def _rate(self, amount: float) -> float:
        return amount / self.seconds if self.seconds else 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ttft(self) -> Latencies | None:
        return Latencies.of([request.ttft_s for request in self.good])

    @computed_field  # type: ignore[prop-decorator]
    @property
    def itl(self) -> Latencies | None:
        return Latencies.of([request.itl_s for request in self.good])

    @computed_field  # type: ignore[prop-decorator]
    @property
    def e2e(self) -> Latencies | None:
        return Latencies.of([request.e2e_s for request in self.good])

    @computed_field  # type: ignore[prop-decorator]
    @property
    def requests_per_s(self) -> float:
        return self._rate(len(self.good))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def output_tokens_per_s(self) -> float:
        return self._rate(sum(request.output_tokens for request in self.good))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total_tokens_per_s(self) -> float:
        return self._rate(sum(request.prompt_tokens + request.output_tokens for request in self.good))

    @computed_field(description="Requests a second that met the objective")  # type: ignore[prop-decorator]
    @property
    def goodput_per_s(self) -> float:
        return self._rate(sum(request.meets(self.objective) for request in self.requests))

    @computed_field(description="Of all requests, those that met the objective")  # type: ignore[prop-decorator]
    @property
    def goodput_share(self) -> float:
        met = sum(request.meets(self.objective) for request in self.requests)
        return met / len(self.requests) if self.requests else 0.0


class Arm(_LoadData):
    """One way to use the engines. Both arms have the same engines, cores, router and requests."""

    name: ArmName
    description: str
    cores: int | None = Field(description="Cores of all its engines together; None where not local")
    levels: list[Level]


class VerdictSummary(_LoadData):
    """A verdict in short; the whole of it is in the reports of `make validate`."""

    result: Literal["PASS", "FAIL", "INCOMPLETE"]
    headline: str
    started_at: datetime
    seconds: float
    failures: list[str] = Field(default_factory=list, description="`id: text` of what failed")


class Validity(_LoadData):
    """Whether the figures mean what they seem to. ``reasons`` are why not: empty if valid."""

    reasons: list[str] = Field(default_factory=list)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def valid(self) -> bool:
        return not self.reasons


class LoadResult(_LoadData):
    """.heteropd/bench/load-TIME.json."""

    version: Literal[1] = 1
    what: Literal["load"] = "load"
    started: datetime
    seconds: float
    case: str
    model: str
    fingerprint: str = Field(description="Of the plan, as in its verdicts")
    standin: bool = Field(description="At least one engine ran on a CPU in an accelerator's place")
    note: str | None = Field(description="What a run on stand-ins does not show")
    engines: dict[str, dict[str, Any]] = Field(
        description="By role: role, platform, runs_on, standin, version, kv_layout, block_size, cores, here"
    )
    machine: dict[str, Any] = Field(description="Class of the machine that the load came from")
    generator: dict[str, str] = Field(description="name and version of the load generator")
    profile_name: str
    profile: LoadProfile
    verdicts: dict[Literal["before", "after"], VerdictSummary | None]
    validity: Validity
    broke_off: str | None = Field(None, description="What ended the load before its time")
    arms: list[Arm]
    caveats: list[str] = Field(default_factory=list, description="What to know before quoting a figure")

    def arm(self, name: ArmName) -> Arm | None:
        return next((arm for arm in self.arms if arm.name == name), None)
