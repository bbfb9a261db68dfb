"""A soak as a page for a browser: what was found, the memory of every role and the traffic over time."""

from collections.abc import Iterator
from itertools import pairwise

from heteropd.bench.soak_result import Sample, SoakResult
from heteropd.console.findings import summary
from heteropd.pages import chart, draw, render


def render_page(result: SoakResult) -> str:
    """The whole page; ends with a newline."""
    memory = list(_memory(result))
    roles = list(dict.fromkeys(row["role"] for row in memory))
    charts = {
        "memory": chart("memory", {"samples": memory}, len(roles), roles=roles),
        "steady": chart("steady", {"rates": list(_rates(result))}),
    }
    return render(
        "soak.html.j2",
        result=result,
        headline=summary(result.findings),
        plots=draw(charts),
    )


def _memory(result: SoakResult) -> Iterator[dict[str, object]]:
    """What each role had at each sample, and, from the middle on, the most that it may have had."""
    half = result.samples[len(result.samples) // 2 :]
    for role, began in half[0].memory_mib.items():
        for sample in result.samples:
            if (mib := sample.memory_mib.get(role)) is None:
                continue
            row: dict[str, object] = {"role": role, "minute": sample.at_s / 60, "mib": mib}
            if sample.at_s >= half[0].at_s and began is not None:
                minutes = (sample.at_s - half[0].at_s) / 60
                row["allowed"] = began + minutes * result.settings.growth_mib
            yield row


def _rates(result: SoakResult) -> Iterator[dict[str, object]]:
    start = Sample(at_s=0, memory_mib={}, requests=0, failed=0, known=0, differs=0)
    for before, after in pairwise([start, *result.samples]):
        seconds = after.at_s - before.at_s
        if seconds < result.settings.sample_s / 2:  # what is left at the end says nothing of a minute
            continue
        counts = {
            "all": after.requests - before.requests,
            "failed": after.failed - before.failed,
            "wrong answers": after.differs - before.differs,
        }
        drawn = (before, after) if before is start else (after,)  # a step ends at its sample
        for sample in drawn:
            for what, count in counts.items():
                yield {"what": what, "minute": sample.at_s / 60, "rate": 60 * count / seconds}
