"""Engines benchmark: does one engine slow the other down, and what does dividing the cores cost?

Tokens a second of the case's two engines, each on the cores that the plan gives it: first one loaded while
the other is idle, then both. Then one engine on all those cores under the load of both.
"""

from __future__ import annotations

from typing import Any

from heteropd.bench import cpu, pair, results, tokens
from heteropd.bench.children import Children
from heteropd.bench.figures import median, spread
from heteropd.bench.results import BenchResult
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config.bench import EnginesSettings
from heteropd.plan.model import Plan, RolePlan

COLUMNS = ["engines", "cores", "clients", "tokens/s", "spread", "CPU engines", cpu.COLUMN]
MEDIANS = ["tokens/s", "CPU engines", cpu.COLUMN]
# vLLM's own name; the plan's value for a role is the role's share.
BIND = "VLLM_CPU_OMP_THREADS_BIND"
BOTH, WHOLE = "side by side", "one engine, all cores"

Round = dict[str, Any]


def measure(settings: EnginesSettings, prompt: str, lab: BenchWorkspace) -> BenchResult:
    """Measure all arrangements, in turns where the same processes serve them. Raises BadInput, KitError."""
    lab.require_idle()
    clock = lab.clock
    machine, started, began = results.machine(), clock.wall(), clock.now()
    plan = pair.plan_on_free_ports(settings.case, lab.root)
    load = tokens.Load(plan.model, prompt, settings.max_tokens, settings.warmup_s, settings.measure_s)
    found, rounds = lab.places(), []
    with Children("engines-run", lab) as children:
        pair.start(plan.engines, children, found)
        pair.until_healthy(plan.engines, children)
        for number in range(settings.rounds):
            rounds += _in_turns(plan, load, settings.clients, number, children)
            children.check()
        children.end()
        one = on_all_cores(plan)
        pair.start([one], children, found)
        pair.until_healthy([one], children)
        for number in range(settings.rounds):
            rounds.append({"round": number, **_one(WHOLE, [one], 2 * settings.clients, load, children)})
    rows = summary(rounds)
    return BenchResult(
        what="engines", started=started, seconds=clock.now() - began, machine=machine,
        settings=settings.model_dump(), columns=COLUMNS, rows=rows, rounds=rounds,
        targets=targets(rows, [role.name for role in plan.engines], settings.tokens_ratio),
        notes=["CPU columns are cores in use; the engines' include the clients'", *cpu.remark(rounds)],
    )  # fmt: skip


def on_all_cores(plan: Plan) -> RolePlan:
    """The plan's decode engine on the cores of all engines."""
    role = plan.of("decode")[0]
    cores = sorted({core for one in plan.engines for core in one.cores})
    env = {**role.env, BIND: ",".join(map(str, cores))}
    return role.model_copy(update={"cores": cores, "env": env, "name": "whole"})


def summary(rounds: list[Round]) -> list[dict[str, Any]]:
    """Medians over the rounds, one row for each arrangement."""
    names = dict.fromkeys(one["engines"] for one in rounds)
    rows = []
    for name in names:
        cell = [one for one in rounds if one["engines"] == name]
        rates = [one["tokens/s"] for one in cell]
        medians = {figure: median([one[figure] for one in cell]) for figure in MEDIANS}
        rows.append({**cell[0], **medians, "spread": spread(rates)})
    return rows


def targets(rows: list[dict[str, Any]], alone: list[str], aim: float) -> list[results.Aim]:
    """Both side by side over the sum of each alone on its own cores, and over one engine on all of them."""
    rate = {row["engines"]: row["tokens/s"] for row in rows}
    compared = {
        "side by side / each alone on its own cores": sum(rate[f"{name} alone"] for name in alone),
        "side by side / one engine on all these cores": rate[WHOLE],
    }
    return [
        results.Aim(name=name, direction="at least", aim=aim, value=rate[BOTH] / base if base else None)
        for name, base in compared.items()
    ]


def _in_turns(plan: Plan, load: tokens.Load, clients: int, number: int, children: Children) -> list[Round]:
    arrangements = [(f"{role.name} alone", [role]) for role in plan.engines]
    arrangements.append((BOTH, list(plan.engines)))
    if number % 2:
        arrangements.reverse()
    return [{"round": number, **_one(name, roles, clients, load, children)} for name, roles in arrangements]


def _one(name: str, roles: list[RolePlan], clients: int, load: tokens.Load, children: Children) -> Round:
    """Load these engines once. CPU figures are cores in use, of all engines that run."""
    clock = children.clock
    machine, own, began = cpu.busy_s(), cpu.own_s(children), clock.now()
    rates = tokens.measure([tokens.TokenTarget(role.url, clients) for role in roles], load)
    span, used = clock.now() - began, cpu.own_s(children) - own
    return {
        "engines": name,
        "cores": "; ".join(",".join(map(str, role.cores)) for role in roles),
        "clients": clients * len(roles),
        "tokens/s": sum(rates),
        "each": rates,
        "CPU engines": used / span,
        cpu.COLUMN: max(0.0, cpu.busy_s() - machine - used) / span,
    }
