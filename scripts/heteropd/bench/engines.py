"""Engines benchmark: does one engine slow the other down, and what does dividing the cores cost?

Tokens a second of the case's two engines, each on the cores that the plan gives it: first one loaded while
the other is idle, then both. Then one engine on all those cores under the load of both.
"""

from typing import Any

from heteropd.bench import cpu, pair, tokens
from heteropd.bench.children import Children
from heteropd.bench.figures import median, spread
from heteropd.bench.results import Aim, Figures
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config.bench import EnginesSettings
from heteropd.plan.model import Plan, RolePlan

COLUMNS = ["engines", "cores", "clients", "tokens/s", "spread", "CPU engines", cpu.COLUMN]
MEDIANS = ["tokens/s", "CPU engines", cpu.COLUMN]
# vLLM's own name; the plan's value for a role is the role's share.
BIND = "VLLM_CPU_OMP_THREADS_BIND"
BOTH, WHOLE = "side by side", "one engine, all cores"

Round = dict[str, Any]


def measure(settings: EnginesSettings, prompt: str, workspace: BenchWorkspace) -> Figures:
    """Measure all arrangements, in turns where the same processes serve them. Raises BadInput, KitError."""
    workspace.require_idle()
    plan = pair.plan_on_free_ports(settings.case, workspace.root)
    load = tokens.Load(plan.model, prompt, settings.max_tokens, settings.warmup_s, settings.measure_s)
    divided = {f"{role.name} alone": [role] for role in plan.engines} | {BOTH: plan.engines}
    rounds: list[Round] = []
    with Children("engines-run", workspace) as children:
        for arrangements in (divided, {WHOLE: [on_all_cores(plan)]}):
            roles = list(arrangements.values())[-1]
            with workspace.step(f"starting {', '.join(role.name for role in roles)}"):
                pair.start(roles, children, workspace.places())
                pair.until_healthy(roles, children)
            for number in range(settings.rounds):
                for name in arrangements if number % 2 == 0 else reversed(arrangements):
                    clients = settings.clients * (2 if name == WHOLE else 1)
                    with workspace.step(f"round {number + 1} of {settings.rounds}: {name}"):
                        figures = _load(arrangements[name], clients, load, children)
                    rounds.append({"round": number, "engines": name, **figures})
                children.check()
            children.end()
    rows = summary(rounds)
    return Figures(
        columns=COLUMNS,
        rows=rows,
        rounds=rounds,
        targets=aims(rows, [role.name for role in plan.engines], settings.tokens_ratio),
        notes=["CPU columns are cores in use; the engines' include the clients'", *cpu.remark(rounds)],
    )


def on_all_cores(plan: Plan) -> RolePlan:
    """The plan's decode engine on the cores of all engines."""
    decode = plan.of("decode")[0]
    cores = sorted({core for role in plan.engines for core in role.cores})
    env = {**decode.env, BIND: ",".join(map(str, cores))}
    return decode.model_copy(update={"cores": cores, "env": env, "name": "whole"})


def summary(rounds: list[Round]) -> list[dict[str, Any]]:
    """Medians over the rounds, one row for each arrangement."""
    rows = []
    for name in dict.fromkeys(figures["engines"] for figures in rounds):
        cell = [figures for figures in rounds if figures["engines"] == name]
        medians = {column: median([figures[column] for figures in cell]) for column in MEDIANS}
        rows.append({**cell[0], **medians, "spread": spread([figures["tokens/s"] for figures in cell])})
    return rows


def aims(rows: list[dict[str, Any]], alone: list[str], aim: float) -> list[Aim]:
    """Both side by side over the sum of each alone on its own cores, and over one engine on all of them."""
    rate = {row["engines"]: row["tokens/s"] for row in rows}
    compared = {
        "side by side / each alone on its own cores": sum(rate[f"{name} alone"] for name in alone),
        "side by side / one engine on all these cores": rate[WHOLE],
    }
    return [
        Aim(name=name, direction="at least", aim=aim, value=rate[BOTH] / base if base else None)
        for name, base in compared.items()
    ]


def _load(roles: list[RolePlan], clients: int, load: tokens.Load, children: Children) -> Round:
    """Load these engines once. CPU figures are cores in use, of all engines that run."""
    clock = children.clock
    machine, own, began = cpu.busy_s(), cpu.own_s(children), clock.now()
    rates = tokens.measure([tokens.TokenTarget(role.url, clients) for role in roles], load)
    span, used = clock.now() - began, cpu.own_s(children) - own
    return {
        "cores": "; ".join(",".join(map(str, role.cores)) for role in roles),
        "clients": clients * len(roles),
        "tokens/s": sum(rates),
        "each": rates,
        "CPU engines": used / span,
        cpu.COLUMN: max(0.0, cpu.busy_s() - machine - used) / span,
    }
