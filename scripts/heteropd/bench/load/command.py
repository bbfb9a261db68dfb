"""`bench what=load`: its profile, its table, its exit status."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from heteropd import topology
from heteropd.bench import results
from heteropd.bench.load import run as load_run
from heteropd.bench.load.llmd import write_llmd
from heteropd.bench.load.model import Latencies, Level, LoadResult
from heteropd.bench.load.report import write_report
from heteropd.bench.results import shown
from heteropd.config import bench
from heteropd.config.bench import BenchSettings
from heteropd.console.width import console
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput, did_you_mean
from heteropd.proof.command import measuring
from heteropd.topology import Context

_COLUMNS = ("req/s", "tokens/s", "goodput/s", "TTFT p50", "p99", "ITL p50", "p99", "E2E p50", "p99")
_KV = ("KV MB", "hand-over s")


def run(
    settings: BenchSettings, given: Mapping[str, str | bool], context: Context, prepare: Callable[[], Any]
) -> int:
    """Load what runs; write .heteropd/bench/load-TIME.json, print a table. 0, or 1 where it is invalid.

    Raises BadInput for a profile that there is not and while another command is at work on the topology,
    MissingPrerequisite where nothing runs.
    """
    settings = settings.model_copy(update={"load": bench.changed(settings.load, given)})
    _require_profile(settings)
    with measuring(context, "bench what=load"):
        result = load_run.run(settings, topology.running(context), context, prepare)
    path = results.write(result, context.state_dir / "bench")
    show(result, console())
    for file in [path, *write_report(result, path), *write_llmd(result, path.with_suffix(".llm-d"))[:1]]:
        console().print(f"written: {file}", soft_wrap=True, highlight=False, markup=False)
    return EXIT_OK if result.validity.valid else EXIT_FAILED


def _require_profile(settings: BenchSettings) -> None:
    name, known = settings.load.profile, settings.profiles
    if name not in known:
        raise BadInput("command line", "profile", name, "no such profile", did_you_mean(name, known))


def show(result: LoadResult, terminal: Console) -> None:
    """Print the levels of both arms, whether they are valid, and what to know of them."""
    unit = "clients" if result.profile.mode == "concurrent" else "arriving/s"
    title = f"bench load, {result.profile_name}: {result.profile.title}"
    table = Table("arm", unit, *_COLUMNS, *_KV, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for position in range(len(result.profile.levels)):
        for arm in result.arms:
            if position < len(arm.levels):  # a load that broke off lacks some
                table.add_row(arm.name, *_cells(arm.levels[position]), end_section=arm is result.arms[-1])
    terminal.print(table)
    validity = result.validity
    headline = "VALID: every request answered in full, KV accounted for, verdicts PASS before and after"
    lines = [f"reason: {reason}" for reason in validity.reasons]
    lines += [f"note: {caveat}" for caveat in result.caveats]
    terminal.print(
        headline if validity.valid else "INVALID: do not quote these figures",
        style="green" if validity.valid else "bold red",
    )
    for line in lines:
        terminal.print(line, soft_wrap=True, highlight=False, markup=False)


def _cells(level: Level) -> list[str]:
    rates = (level.requests_per_s, level.output_tokens_per_s, level.goodput_per_s)
    times = [figure for found in (level.ttft, level.itl, level.e2e) for figure in _pair(found)]
    moved = None if level.kv.bytes is None else level.kv.bytes / 1e6
    return [f"{level.value:g}", *map(shown, (*rates, *times, moved, level.kv.handover_s))]


def _pair(latencies: Latencies | None) -> tuple[float | None, float | None]:
    return (latencies.p50, latencies.p99) if latencies else (None, None)
