"""The tables of a load result: arms, every load, one arm over the other, how the KV travelled."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from heteropd.bench.figures import known_sum
from heteropd.bench.load.model import Arm, Latencies, Level, LoadResult
from heteropd.bench.results import shown

_ALIKE = 0.05  # of a figure: less is called no difference
ARM_NAMES = {"pd": "PD", "aggregated": "aggregated"}


class Table(NamedTuple):
    """A table; ``right``: columns of numbers."""

    header: list[str]
    rows: list[list[str]]
    right: range


def level_name(result: LoadResult, level: Level) -> str:
    """What a level of load is, as ``4 clients`` or ``0.5 requests/s``."""
    plural = "" if level.value == 1 else "s"
    return (
        f"{level.value:g} {f'request{plural}/s' if result.profile.mode == 'poisson' else f'client{plural}'}"
    )


def arms(result: LoadResult) -> Table:
    """What each arm was, and its best."""
    header = ["arm", "engines", "cores", "requests", "failed"]
    header += ["best output tokens/s", "best goodput (requests/s)"]
    rows = [
        [
            ARM_NAMES[arm.name],
            arm.description,
            shown(arm.cores),
            str(sum(len(level.requests) for level in arm.levels)),
            str(sum(len(level.requests) - len(level.good) for level in arm.levels)),
            shown(max((level.output_tokens_per_s for level in arm.levels), default=None)),
            shown(max((level.goodput_per_s for level in arm.levels), default=None)),
        ]
        for arm in result.arms
    ]
    return Table(header, rows, range(2, 7))


def each_level(result: LoadResult) -> Iterator[tuple[Arm, Level, list[str]]]:
    """Arms and levels, with the names of both for a row."""
    for arm in result.arms:
        for level in arm.levels:
            yield arm, level, [level_name(result, level), ARM_NAMES[arm.name]]


def levels(result: LoadResult) -> Table:
    """Every load of every arm."""
    header = ["load", "arm", "requests", "TTFT (ms)", "ITL (ms)", "E2E (s)", "requests/s", "output tokens/s"]
    header += ["all tokens/s", "in objective", "cores used", "by others"]
    rows = [
        [
            *names,
            f"{len(level.good)} of {len(level.requests)}",
            _pair(level.ttft, 1000),
            _pair(level.itl, 1000),
            _pair(level.e2e),
            shown(level.requests_per_s),
            shown(level.output_tokens_per_s),
            shown(level.total_tokens_per_s),
            f"{level.goodput_share:.0%}",
            shown(level.cores_engines),
            shown(level.cores_others),
        ]
        for _, level, names in sorted(each_level(result), key=lambda each: each[1].value)
    ]
    return Table(header, rows, range(2, len(header)))


def _pair(latencies: Latencies | None, unit: float = 1.0) -> str:
    return "-" if latencies is None else f"{shown(latencies.p50 * unit)} / {shown(latencies.p99 * unit)}"


# What the arms are compared by, and whether less is better.
_FIGURES: dict[str, tuple[Callable[[Level], float | None], bool]] = {
    "TTFT p50": (lambda level: level.ttft.p50 if level.ttft else None, True),
    "TTFT p99": (lambda level: level.ttft.p99 if level.ttft else None, True),
    "ITL p50": (lambda level: level.itl.p50 if level.itl else None, True),
    "E2E p50": (lambda level: level.e2e.p50 if level.e2e else None, True),
    "output tokens/s": (lambda level: level.output_tokens_per_s, False),
    "goodput": (lambda level: level.goodput_per_s, False),
}


def figures(result: LoadResult) -> dict[str, float | None]:
    """What is compared, of every arm and level, by a name that says all three."""
    return {
        f"{names[0]}, {names[1]}: {name}": take(level)
        for _, level, names in each_level(result)
        for name, (take, _) in _FIGURES.items()
    }


def versus(result: LoadResult) -> Table:
    """PD over aggregated, for every figure at every load that both arms had."""
    pd, aggregated = result.arm("pd"), result.arm("aggregated")
    alone = {level.value: level for level in aggregated.levels} if aggregated else {}
    pairs = [(level, alone[level.value]) for level in pd.levels if level.value in alone] if pd else []
    header = ["PD / aggregated", *(level_name(result, level) for level, _ in pairs)]
    rows = [
        [name, *(_ratio(take(level), take(other), less_is_better=less) for level, other in pairs)]
        for name, (take, less) in _FIGURES.items()
    ]
    return Table(header, rows if pairs else [], range(1, len(header)))


def _ratio(mine: float | None, other: float | None, *, less_is_better: bool) -> str:
    if not mine or not other:
        return "-"
    ratio = mine / other
    better = "better" if (ratio < 1) == less_is_better else "worse"
    return f"{ratio:.2f}x ({better if abs(ratio - 1) >= _ALIKE else 'alike'})"


def headline(versus: Table) -> str:
    """One arm over the other at the highest load; empty where only one was measured."""
    if not versus.rows:
        return ""
    told = ", ".join(f"{row[0]} {row[-1]}" for row in versus.rows)
    return f"PD over the same engines aggregated, at {versus.header[-1]}: {told}"


def evidence(result: LoadResult) -> Table:
    """What the engines counted."""
    header = ["load", "arm", "transfers", "KV (MB)", "descriptors", "KiB each", "ms a hand-over", "MB/s"]
    header += ["from the prefill", "recomputed", "cached", "failed / expired / late", "digests that differ"]
    rows = []
    for _, level, names in each_level(result):
        kv = level.kv
        row = [
            kv.transfers,
            f"{shown(_part(kv.bytes, 1e6))} of {shown(_part(kv.expected_bytes, 1e6))}",
            kv.descriptors,
            _part(kv.bytes, 1024, kv.descriptors),
            _part(kv.handover_s, 1e-3, kv.transfers),
            _part(kv.bytes, 1e6, kv.handover_s),
            kv.external_tokens,
            kv.recomputed_tokens,
            kv.cached_tokens,
            f"{shown(known_sum(kv.failed_transfers, kv.failed_notifications))} / {shown(kv.expired)} / "
            f"{shown(kv.late_notifications)}",
            kv.digests_differs,
        ]
        rows.append([*names, *map(shown, row)])
    return Table(header, rows, range(2, len(header)))


def _part(amount: float | None, unit: float, of: float | None = 1) -> float | None:
    return None if amount is None or not of else amount / unit / of


def engines(result: LoadResult) -> Table:
    """What the engines ran on."""
    header = ["role", "platform", "runs on", "vLLM", "layout", "block", "cores"]
    rows = [
        [
            name,
            str(facts.get("platform", "")),
            f"{facts.get('runs_on', '')}{' (stand-in)' if facts.get('standin') else ''}",
            *(shown(facts.get(key)) for key in ("version", "kv_layout", "block_size")),
            " ".join(map(str, facts.get("cores") or [])) or "-",
        ]
        for name, facts in result.engines.items()
    ]
    return Table(header, rows, range(0))
