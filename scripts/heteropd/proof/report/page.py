"""The verdict as a page for a browser: the conclusion first, plots of what it rests on, then everything."""

import math
from collections import Counter
from typing import Any

from heteropd.console.findings import summary
from heteropd.pages import Chart, chart, draw, render
from heteropd.plan.model import Plan
from heteropd.proof.report.markdown import curl, probe_table, role_table, value_text
from heteropd.proof.verdict import Check, Floor, Verdict, geometry_seen

# What a plot over powers of ten can show: less counts as nothing, more as endless.
_LEAST, _MOST = 1e-7, 100.0
_BETWEEN, _WARM, _ROUTED, _ALLOWED = "#6b7280", "#8b5cf6", "#0072b2", "#b91c1c"


def render_page(verdict: Verdict, plan: Plan) -> str:
    """The whole page; ends with a newline."""
    groups: dict[str, list[Check]] = {}
    for check in verdict.checks:
        groups.setdefault(check.group, []).append(check)
    unplotted = sum(probe.distance is None for probe in verdict.probes)
    return render(
        "verdict.html.j2",
        verdict=verdict,
        plan=plan,
        shown=_tiles(verdict),
        groups=groups,
        roles=role_table(plan),
        probes=probe_table(verdict.probes),
        versions=", ".join(f"{name} {version}" for name, version in verdict.versions.items()),
        seen=geometry_seen(verdict.checks),
        plots=draw({"distances": _distances(verdict), "noise": _noise(verdict), "phases": _phases(verdict)}),
        omitted=f" {unplotted} prompts without a known difference are not shown." if unplotted else "",
        value=value_text,
        curl=curl(verdict, plan),
    )


def _tiles(verdict: Verdict) -> list[dict[str, str]]:
    outcomes = Counter(probe.outcome for probe in verdict.probes)
    evidence = {check.id: check.evidence for check in verdict.checks}
    moved, computed = evidence.get("kv_transfer.bytes", {}), evidence.get("kv_transfer.recomputed", {})
    bound = _nats(verdict.floor.position_bound if verdict.floor else None, "")
    tiles = [
        ("checks", str(len(verdict.checks)), summary(verdict.checks)),
        ("probes", str(len(verdict.probes)), ", ".join(f"{many} {name}" for name, many in outcomes.items())),
        ("largest difference", _nats(verdict.largest, ""), f"nats, {bound} allowed at any position"),
        ("KV moved", _megabytes(moved.get("bytes")), f"{_megabytes(moved.get('expected'))} expected"),
        ("recomputed", value_text(computed.get("tokens")), "prompt tokens by the decode itself"),
    ]  # fmt: skip
    return [{"name": name, "figure": figure, "text": text} for name, figure, text in tiles]


def _distances(verdict: Verdict) -> Chart:
    points = [
        {"tokens": probe.prompt_tokens, "nats": _drawn(probe.distance), "outcome": probe.outcome}
        for probe in verdict.probes
        if probe.distance is not None
    ]
    data = {"probes": points, "bounds": _lines(verdict.floor)}
    seen = sorted({probe.outcome for probe in verdict.probes})
    return chart("distances", data, outcomes=seen)


def _lines(floor: Floor | None) -> list[dict[str, Any]]:
    if floor is None:
        return []
    told = [
        (floor.position_bound, "allowed at any position", _ALLOWED, [1, 0]),
        (floor.maximum, "largest between the engines alone", _BETWEEN, [6, 4]),
        (floor.warm_maximum, "largest cold against warm", _WARM, [2, 3]),
    ]
    return [
        {"nats": _drawn(nats), "label": f"{label}: {_nats(nats)}", "color": color, "dash": dash}
        for nats, label, color, dash in told
        if nats is not None
    ]


def _noise(verdict: Verdict) -> Chart:
    floor = verdict.floor
    if floor is None or floor.median is None:
        return chart("noise", {"ranges": []})
    shifts = [check.evidence.get("median") for check in verdict.checks if check.id == "integrity.shift"]
    routed = next((shift for shift in shifts if isinstance(shift, float)), None)
    rows = [
        ("between the engines alone", floor.median, floor.maximum, _BETWEEN),
        ("one engine, cold against warm", floor.warm_median, floor.warm_maximum, _WARM),
        ("through the topology", routed, verdict.largest, _ROUTED),
    ]
    ranges = [
        {"what": what, "typical": _drawn(typical), "largest": _drawn(largest), "color": color}
        for what, typical, largest, color in rows
        if typical is not None and largest is not None
    ]
    for row in ranges[-1:]:
        row |= {"allowed typical": _drawn(floor.run_bound), "allowed anywhere": _drawn(floor.position_bound)}
    return chart("noise", {"ranges": ranges})


def _phases(verdict: Verdict) -> Chart:
    bars = [
        {"name": name, "from": began, "to": began + seconds, "seconds": seconds}
        for began, seconds, name in sorted(
            (phase.started_s, phase.seconds, phase.name) for phase in verdict.phases
        )
    ]
    return chart("phases", {"phases": bars})


def _drawn(nats: float | None) -> float | None:
    """Where a figure lies on the plot's axis."""
    if nats is None:
        return None
    return _MOST if math.isnan(nats) else min(max(nats, _LEAST), _MOST)


def _nats(value: float | None, unit: str = " nats") -> str:
    return "unknown" if value is None else f"{value:.2g}{unit}"


def _megabytes(value: object) -> str:
    return f"{value / 1e6:,.1f} MB" if isinstance(value, int) else "unknown"
