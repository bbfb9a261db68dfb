"""Bring-up benchmark: `make CASE` on a warm checkout against a bare start of the same two engines."""

from typing import Any

from heteropd.bench import cold, cpu, make, pair
from heteropd.bench.children import Children
from heteropd.bench.figures import median, spread
from heteropd.bench.make import Make
from heteropd.bench.results import Aim, Figures
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


def measure(settings: BringupSettings, prompt: str, workspace: BenchWorkspace) -> Figures:
    """Measure warm bring-ups, or with ``cold`` one clean clone. Raises BadInput, KitError."""
    workspace.require_idle()
    if settings.cold:
        return cold.measure(settings, workspace)
    plan = pair.plan_on_free_ports(settings.case, workspace.root)
    rounds: list[Round] = []
    with Children("bringup-run", workspace) as children:
        for number in range(settings.rounds):
            turns = {"bare": _bare, "make": _warm}
            for what in turns if number % 2 == 0 else reversed(turns):
                before = cpu.in_use(workspace.clock)
                with workspace.step(f"round {number + 1} of {settings.rounds}: {what}"):
                    figures = turns[what](plan, prompt, workspace, children)
                rounds.append({"round": number, "what": what, cpu.COLUMN: before, **figures})
    rows = summary(rounds)
    targets = aims(rows, settings)
    notes = [BARE_NOTE, *cpu.remark(rounds)]
    return Figures(columns=COLUMNS, rows=rows, rounds=rounds, targets=targets, notes=notes)


def _bare(plan: Plan, prompt: str, workspace: BenchWorkspace, children: Children) -> Round:
    clock, places = workspace.clock, workspace.places()
    began = clock.now()
    pair.start(plan.engines, children, places)
    pair.until_healthy(plan.engines, children)
    healthy = clock.now() - began
    pair.disaggregated(plan, prompt)
    answered = clock.now() - began
    children.end()
    return {"healthy": healthy, BARE: answered}


def _warm(plan: Plan, _prompt: str, workspace: BenchWorkspace, children: Children) -> Round:
    command = Make(workspace.root, children.folder / "state", children)
    ports = [f"{name}={value}" for name, value in plan.parameters.items() if name.endswith("port")]
    try:
        seen = command.run([plan.case, *ports], make.of_bring_up(command.state_dir), LIMIT_S)
        healthy = make.healthy_after(command.state_dir)
    finally:
        command.run(["down"], {}, LIMIT_S)
    return {READY: seen["ready"], VERDICT: seen["exit"], "seen": seen, "healthy": healthy}


def summary(rounds: list[Round]) -> list[dict[str, Any]]:
    """Medians over the rounds, each over the bare start's."""
    times = {
        name: [figures[name] for figures in rounds if name in figures] for name in (BARE, READY, VERDICT)
    }
    base = median(times[BARE])
    return [
        {"what": name, "seconds": median(seen), "spread": spread(seen), "over bare": median(seen) / base}
        for name, seen in times.items()
    ]


def aims(rows: list[dict[str, Any]], settings: BringupSettings) -> list[Aim]:
    """The two ratios of the medians."""
    ratio = {row["what"]: row["over bare"] for row in rows}
    return [
        Aim(name=f"{name} / {BARE}", direction="at most", aim=aim, value=ratio[name])
        for name, aim in ((READY, settings.ready_ratio), (VERDICT, settings.verdict_ratio))
    ]
