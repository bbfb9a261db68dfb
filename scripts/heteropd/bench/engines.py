"""Engines benchmark: does one engine slow the other down, and what does dividing the cores cost?

Tokens a second of the case's two engines, each on the cores that the plan gives it: first one loaded while
the other is idle, then both. Then one engine on all those cores under the load of both.
"""

from __future__ import annotations

from typing import Any

from heteropd.bench import pair, results, tokens
from heteropd.bench.children import Children
from heteropd.bench.figures import median, spread
from heteropd.bench.lab import Lab
from heteropd.bench.results import Result
from heteropd.bench.settings import EnginesSettings
from heteropd.plan.model import Plan, RolePlan

COLUMNS = ["engines", "cores", "clients", "tokens/s", "spread"]
# vLLM's own name; the plan's value for a role is the role's share.
BIND = "VLLM_CPU_OMP_THREADS_BIND"
BOTH, WHOLE = "side by side", "one engine, all cores"

Round = dict[str, Any]


def measure(settings: EnginesSettings, prompt: str, lab: Lab) -> Result:
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
            rounds += _side_by_side(plan, load, settings.clients, number)
            children.check()
        children.end()
        one = on_all_cores(plan)
        pair.start([one], children, found)
        pair.until_healthy([one], children)
        for number in range(settings.rounds):
            rounds.append(_one(WHOLE, [one], 2 * settings.clients, load, number))
    rows = summary(rounds)
    return Result(
        what="engines", started=started, seconds=clock.now() - began, machine=machine,
        settings=settings.model_dump(), columns=COLUMNS, rows=rows, rounds=rounds,
        targets=targets(rows, [role.name for role in plan.engines], settings.tokens_ratio),
        notes=["the clients' own CPU time comes out of the same cores, the more the faster the engines are"],
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
        rows.append({**cell[0], "tokens/s": median(rates), "spread": spread(rates)})
    return rows


def targets(rows: list[dict[str, Any]], alone: list[str], aim: float) -> list[results.Target]:
    """Both side by side over the sum of each alone on its own cores, and over one engine on all of them."""
    rate = {row["engines"]: row["tokens/s"] for row in rows}
    compared = {
        "side by side / each alone on its own cores": sum(rate[f"{name} alone"] for name in alone),
        "side by side / one engine on all these cores": rate[WHOLE],
    }
    return [
        results.Target(name=name, direction="at least", aim=aim, value=rate[BOTH] / base)
        for name, base in compared.items()
    ]


def _side_by_side(plan: Plan, load: tokens.Load, clients: int, number: int) -> list[Round]:
    arrangements = [(f"{role.name} alone", [role]) for role in plan.engines]
    arrangements.append((BOTH, list(plan.engines)))
    if number % 2:
        arrangements.reverse()
    return [_one(name, roles, clients, load, number) for name, roles in arrangements]


def _one(name: str, roles: list[RolePlan], clients: int, load: tokens.Load, number: int) -> Round:
    rates = tokens.measure([tokens.Target(role.url, clients) for role in roles], load)
    return {
        "round": number,
        "engines": name,
        "cores": "; ".join(",".join(map(str, role.cores)) for role in roles),
        "clients": clients * len(roles),
        "tokens/s": sum(rates),
        "each": rates,
    }
