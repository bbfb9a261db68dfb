"""The plots of a load result, by the names that its page has for them. What has no figures has no plot."""

from collections.abc import Sequence

from markupsafe import Markup

from heteropd.bench.load.model import LoadResult
from heteropd.bench.load.tables import each_level
from heteropd.pages import chart, draw

_POINTS = 100  # of a distribution that is drawn


def plots(result: LoadResult) -> dict[str, Markup]:
    """Latency over load, throughput against interactivity, and how TTFT and ITL are distributed."""
    loads = sorted({level.value for arm in result.arms for level in arm.levels})
    clients = result.profile.mode == "concurrent"
    axis = "clients in a closed loop" if clients else "requests a second"
    charts = {
        "latency": chart("latency", {"percentiles": _percentiles(result)}, load=axis, levels=loads),
        "balance": chart("balance", {"levels": _balance(result)}),
    }
    for figure in ("ttft", "itl"):
        shares, title = _shares(result, figure), f"{figure.upper()} (ms)"
        charts[figure] = chart("distribution", {"shares": shares}, len(loads), figure=title)
    return draw(charts)


def _percentiles(result: LoadResult) -> list[dict[str, object]]:
    return [
        {"arm": names[1], "value": level.value, "figure": figure, "percentile": rank, "ms": 1000 * value}
        for _, level, names in each_level(result)
        for figure, latencies in (("TTFT", level.ttft), ("ITL", level.itl))
        if latencies
        for rank, value in (("p50", latencies.p50), ("p99", latencies.p99))
    ]


def _balance(result: LoadResult) -> list[dict[str, object]]:
    return [
        {"arm": names[1], "value": level.value, "load": names[0]}
        | {"user": 1 / level.itl.p50, "all": level.output_tokens_per_s}
        for _, level, names in each_level(result)
        if level.itl and level.itl.p50
    ]


def _shares(result: LoadResult, figure: str) -> list[dict[str, object]]:
    return [
        {"arm": names[1], "value": level.value, "load": names[0], "ms": 1000 * value, "share": share}
        for _, level, names in each_level(result)
        for value, share in distribution([getattr(request, f"{figure}_s") for request in level.good])
    ]


def distribution(values: Sequence[float | None]) -> list[tuple[float, float]]:
    """Values with the share of requests that was at most so slow; no more points than a plot can show."""
    ordered = sorted(value for value in values if value is not None)
    count = len(ordered)
    step = max(1, count // _POINTS)
    kept = [*range(0, count - 1, step), count - 1] if ordered else []
    return [(ordered[index], (index + 1) / count) for index in kept]
