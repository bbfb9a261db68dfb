"""What the looks and counters of a soak say. Pure."""

from collections.abc import Mapping, Sequence
from statistics import linear_regression

from heteropd.bench.soak_result import Sample
from heteropd.config.bench import SoakSettings
from heteropd.findings import Evidence, Finding, Status


def findings_of(
    samples: Sequence[Sample],
    counted: Mapping[str, int] | None,
    settings: SoakSettings,
    *,
    interrupted: bool = False,
) -> list[Finding]:
    """What the samples and counters say."""
    last = samples[-1]
    bad = {name: count for name, count in (counted or {}).items() if count}
    text = "an engine does not say it any more" if counted is None else f"failed or expired: {bad or 'none'}"
    transferred: bool | None = counted is not None and not bad
    if interrupted:
        transferred, text = None, "not read: the soak was interrupted"
    found = [
        finding("soak.answered", not last.failed, f"{last.failed} of {last.requests} requests failed", {}),
        finding(
            "soak.known", not last.differs, f"{last.differs} of {last.known} known answers were others", {}
        ),
        finding("soak.transfers", transferred, text, dict(counted or {})),
    ]
    for role in last.memory_mib:
        now = last.memory_mib[role]
        if now is None:
            text = f"{role}'s memory is not known: its processes are not seen from this machine"
            found.append(finding("soak.memory", None, text, {}))
            continue
        slope = growth(samples, role)
        text = f"{role} grew by {slope:z.1f} MiB a minute over the second half, to {now:,.0f} MiB"
        evidence: Evidence = {"mib_a_minute": slope, "most": settings.growth_mib}
        found.append(finding("soak.memory", slope <= settings.growth_mib, text, evidence))
    return found


def growth(samples: Sequence[Sample], role: str) -> float:
    """MiB a minute over the second half of the samples; 0 where fewer than two of those know it."""
    half = [(sample.at_s / 60, sample.memory_mib[role]) for sample in samples[len(samples) // 2 :]]
    known = [(minute, mib) for minute, mib in half if mib is not None]
    return linear_regression(*zip(*known, strict=True)).slope if len(known) > 1 else 0.0


def finding(name: str, good: bool | None, text: str, evidence: Evidence) -> Finding:
    """None: it could not be looked at."""
    status: Status = "SKIP" if good is None else "PASS" if good else "FAIL"
    return Finding(id=name, status=status, text=text, evidence=evidence)
