"""Bring-up benchmark: `make CASE` on a warm checkout against a bare start of the same two engines."""

from __future__ import annotations

from typing import Any

from heteropd.bench import cpu, milestones, pair, results
from heteropd.bench.children import Children
from heteropd.bench.cold import measure as measure_cold
from heteropd.bench.figures import median, spread
from heteropd.bench.make import Make
from heteropd.bench.results import Aim, BenchResult
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config.bench import BringupSettings
from heteropd.plan.model import Plan

COLUMNS = ["what", "seconds", "spread", "over bare"]
BARE, READY, VERDICT = "bare start", "make to ready", "make to verdict"
BARE_NOTE = (
    f"{BARE}: both engines from the plan's argument lists at once, until one request has gone through prefill"
    " and decode; no router, nothing watched, nothing proven"
)
LIMIT_S = 900.0

Round = dict[str, Any]


def measure(settings: BringupSettings, prompt: str, lab: BenchWorkspace) -> BenchResult:
    """Measure warm bring-ups, or with ``cold`` one clean clone. Raises BadInput, KitError."""
    lab.require_idle()
    if settings.cold:
        return measure_cold(settings, lab)
    clock = lab.clock
    machine, started, began = results.machine(), clock.wall(), clock.now()
    plan = pair.plan_on_free_ports(settings.case, lab.root)
    rounds: list[Round] = []
    with Children("bringup-run", lab) as children:
        for number in range(settings.rounds):
            turns = (_bare, _warm) if number % 2 == 0 else (_warm, _bare)
            for turn in turns:
                before = cpu.in_use(clock)
                rounds.append({"round": number, cpu.COLUMN: before, **turn(plan, prompt, lab, children)})
    rows = summary(rounds)
    return BenchResult(
        what="bringup", started=started, seconds=clock.now() - began, machine=machine,
        settings=settings.model_dump(), columns=COLUMNS, rows=rows, rounds=rounds,
        targets=targets(rows, settings),
        notes=[BARE_NOTE, *cpu.remark(rounds)],
    )  # fmt: skip


def _bare(plan: Plan, prompt: str, lab: BenchWorkspace, children: Children) -> Round:
    clock, places = lab.clock, lab.places()
    began = clock.now()
    pair.start(plan.engines, children, places)
    pair.until_healthy(plan.engines, children)
    healthy = clock.now() - began
    pair.disaggregated(plan, prompt)
    answered = clock.now() - began
    children.end()
    return {"what": "bare", "healthy": healthy, BARE: answered}


def _warm(plan: Plan, _prompt: str, lab: BenchWorkspace, children: Children) -> Round:
    make = Make(lab.root, children.folder / "state", children)
    ports = [f"{name}={value}" for name, value in plan.parameters.items() if name.endswith("port")]
    try:
        seen = make.run([plan.case, *ports], milestones.of_bring_up(make.state_dir), LIMIT_S)
        healthy = milestones.roles(make.state_dir)
    finally:
        make.run(["down"], {}, LIMIT_S)
    return {"what": "make", READY: seen["ready"], VERDICT: seen["exit"], "seen": seen, "healthy": healthy}


def summary(rounds: list[Round]) -> list[dict[str, Any]]:
    """Medians over the rounds, each over the bare start's."""
    times = {name: [one[name] for one in rounds if name in one] for name in (BARE, READY, VERDICT)}
    base = median(times[BARE])
    return [
        {"what": name, "seconds": median(found), "spread": spread(found), "over bare": median(found) / base}
        for name, found in times.items()
    ]


def targets(rows: list[dict[str, Any]], settings: BringupSettings) -> list[Aim]:
    """The two ratios of the medians."""
    ratio = {row["what"]: row["over bare"] for row in rows}
    aims = {READY: settings.ready_ratio, VERDICT: settings.verdict_ratio}
    return [
        Aim(name=f"{name} / {BARE}", direction="at most", aim=aim, value=ratio[name])
        for name, aim in aims.items()
    ]
