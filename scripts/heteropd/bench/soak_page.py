"""A soak as a page for a browser: what was found, the memory of every role and the traffic over time."""

from collections.abc import Iterator
from itertools import pairwise

from heteropd.bench.soak_result import SoakResult
from heteropd.console.findings import summary
from heteropd.pages import chart, draw, render


def render_page(result: SoakResult) -> str:
    """The whole page; ends with a newline."""
    memory = [
        {"role": role, "minute": sample.at_s / 60, "mib": mib}
        for sample in result.samples
        for role, mib in sample.memory_mib.items()
        if mib is not None
    ]
    panels = len({row["role"] for row in memory})
    charts = {
        "memory": chart("memory", {"samples": memory}, panels),
        "steady": chart("steady", {"rates": list(_rates(result))}),
    }
    return render(
        "soak.html.j2",
        result=result,
        headline=summary(result.findings),
        plots=draw(charts),
    )


def _rates(result: SoakResult) -> Iterator[dict[str, object]]:
    for before, after in pairwise(result.samples):
        minutes = (after.at_s - before.at_s) / 60
        counts = {
            "all": after.requests - before.requests,
            "failed": after.failed - before.failed,
            "wrong answers": after.differs - before.differs,
        }
        for what, count in counts.items() if minutes else ():
            yield {"what": what, "minute": after.at_s / 60, "rate": count / minutes}
