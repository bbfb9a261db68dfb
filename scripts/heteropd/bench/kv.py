"""KV benchmark: what a hand-over moves, how long that takes, and what the transport under it could do.

The case's two engines as bare processes, no router; prompts that no cache knows, one at a time. Then, without
engines, the same bytes in as many descriptors between the same two kinds of memory over NIXL alone.
"""

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

from heteropd.bench import cpu, pair
from heteropd.bench.children import Children
from heteropd.bench.figures import median, spread
from heteropd.bench.results import Aim, Figures
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import env
from heteropd.config.bench import KvSettings
from heteropd.engine_api import metrics
from heteropd.engine_api.client import Endpoint, EngineClient
from heteropd.errors import KitError
from heteropd.plan.environment import ENGINE_PYTHON
from heteropd.plan.model import Plan, RolePlan
from heteropd.prepare import accelerator
from heteropd.processes.identity import alive

COLUMNS = [
    *("block", "tokens", "MB", "descriptors", "transfer s", "spread", "of TTFT"),
    *("MB/s", "raw MB/s", "ratio", cpu.COLUMN),
]
_TRANSFER = "vllm:nixl_xfer_time_seconds"
_TOKENS = range(1000, 30000)  # of any vocabulary, none of them special
_READER = Path(__file__).parent / "peers" / "kv_raw.py"
_LIMIT_S, _LOOK_S = 120.0, 0.2

Round = dict[str, Any]


def measure(settings: KvSettings, _prompt: str, workspace: BenchWorkspace) -> Figures:
    """Measure with every block size, then the transport. Raises BadInput, MissingPrerequisite, KitError."""
    workspace.require_idle()
    rounds: list[Round] = []
    rows: list[Round] = []
    with Children("kv-run", workspace) as children:
        for block in settings.blocks:
            plan = plan_of(settings, block, workspace.root)
            places = _places(plan, workspace)
            with workspace.step(f"{block} tokens a block: starting {_named(plan)}"):
                for role in plan.engines:
                    pair.start([role], children, places[role.name])
                pair.until_healthy(plan.engines, children)
            busy = {cpu.COLUMN: cpu.in_use(workspace.clock)}
            with workspace.step(f"{block} tokens a block: hand-overs"):
                handed = [
                    {"block": block, "tokens": tokens, **busy, **_hand_over(plan, tokens, children)}
                    for tokens in settings.tokens
                    for _ in range(settings.rounds)
                ]
            children.end()
            of_block = summary(handed)
            with workspace.step(f"{block} tokens a block: the transport alone"):
                of_block = with_raw(of_block, _raw(plan, of_block, places, children))
            rounds, rows = rounds + handed, rows + of_block
    return Figures(
        columns=COLUMNS,
        rows=rows,
        rounds=rounds,
        targets=aims(rows, settings.raw_ratio),
        notes=[
            f"memory: {_named(plan)}",
            "of TTFT: of the time for a prompt's prefill, its hand-over and one token",
            *cpu.remark(rounds),
        ],
    )


def plan_of(settings: KvSettings, block: int, root: Path) -> Plan:
    """The case with blocks of that size on the side whose blocks travel. Raises BadInput."""
    case = env.load(root).cases.get(settings.case)  # the plan refuses one that is not there
    side = "decode" if case and case.prefill.convert_on_save else "prefill"
    words = {"standin": settings.standin, f"{side}_block_size": str(block)}
    words |= {"engine_python": settings.engine_python} if settings.engine_python else {}
    return pair.plan_on_free_ports(settings.case, root, words)


def summary(rounds: list[Round]) -> list[Round]:
    """Medians for each length; the first of its rounds, which sets connections up, counts in none."""
    rows = []
    for tokens in dict.fromkeys(entry["tokens"] for entry in rounds):
        cell = [entry for entry in rounds if entry["tokens"] == tokens]
        cell = cell[1:] or cell
        seconds = [entry["transfer s"] for entry in cell]
        middle = median(seconds)
        row = {**cell[0], **{name: median([entry[name] for entry in cell]) for name in ("MB", "of TTFT")}}
        # Blocks side by side on both ends are joined, so prompts differ: the transport gets the most.
        row["descriptors"] = max(entry["descriptors"] for entry in cell)
        rows.append(row | {"transfer s": middle, "spread": spread(seconds), "MB/s": row["MB"] / middle})
    return rows


def with_raw(rows: list[Round], raw: list[float]) -> list[Round]:
    """The rows beside what the transport alone took for the same, in seconds."""
    return [
        row | {"raw MB/s": row["MB"] / seconds, "ratio": seconds / row["transfer s"]}
        for row, seconds in zip(rows, raw, strict=True)
    ]


def aims(rows: list[Round], aim: float) -> list[Aim]:
    """The longest prompt of each block size against the transport."""
    longest = {row["block"]: row for row in rows}
    names = {block: f"hand-over / transport, {block} tokens a block" for block in longest}
    return [
        Aim(name=names[block], direction="at least", aim=aim, value=row["ratio"])
        for block, row in longest.items()
    ]


def _named(plan: Plan) -> str:
    return ", ".join(f"{role.name} {_memory(role)}" for role in plan.engines)


def _memory(role: RolePlan) -> str:
    return "VRAM" if role.runs_on == "cuda" else "DRAM"


def _places(plan: Plan, workspace: BenchWorkspace) -> dict[str, dict[str, str]]:
    """What stands for each engine's Python and model."""
    common, root = workspace.places(), workspace.root
    real = accelerator.python_of(plan, env.load(root), root, workspace.runner, workspace.say)
    own = {name: {ENGINE_PYTHON: str(real)} for name in plan.real}
    return {role.name: common | own.get(role.name, {}) for role in plan.engines}


def _hand_over(plan: Plan, tokens: int, children: Children) -> Round:
    """One prompt: what the decode says of its transfer, and the time until its first token."""
    decode, clock = plan.of("decode")[0], children.clock
    prompt = [random.choice(_TOKENS) for _ in range(tokens)]  # noqa: S311 - not a secret
    with EngineClient() as client:
        look = partial(_looked, Endpoint(client, decode.name, decode.url, _LIMIT_S))
        before, seconds_before = look()
        began = clock.now()
        pair.disaggregated(plan, prompt)
        ttft = clock.now() - began
        while True:  # an engine counts a step after it has answered
            after, seconds = look()
            moved = after.since(before)
            if moved["transfers"]:
                break
            if clock.now() - began > _LIMIT_S:
                raise KitError(f"bench: {decode.name} counts no transfer for a prompt of {tokens} tokens")
            clock.sleep(_LOOK_S)
    transfer = seconds - seconds_before
    return {
        "MB": (moved["bytes"] or 0) / 1e6,
        "descriptors": moved["descriptors"],
        "transfer s": transfer,
        "of TTFT": transfer / ttft,
    }


def _looked(engine: Endpoint) -> tuple[metrics.Counts, float]:
    page = engine.metrics()
    return metrics.Counts.of(page), metrics.total(page, _TRANSFER, {}) or 0.0


def _raw(plan: Plan, rows: list[Round], places: dict[str, dict[str, str]], children: Children) -> list[float]:
    """Median seconds of the same reads: one process in the prefill's place, one in the decode's."""
    holder, reader = plan.of("prefill")[0], plan.of("decode")[0]
    patterns = [(round(row["descriptors"]), round(row["MB"] * 1e6 / row["descriptors"])) for row in rows]
    card = children.folder / "card.json"
    card.unlink(missing_ok=True)
    size = max(count * each for count, each in patterns)

    def command(role: RolePlan, what: str, *words: str) -> list[str]:
        return [places[role.name][ENGINE_PYTHON], str(_READER), what, str(card), _memory(role), *words]

    children.start("raw-hold", command(holder, "hold", str(size)), holder.env, places[holder.name])
    words = [f"{count}:{each}" for count, each in patterns]
    read = children.start("raw-read", command(reader, "read", *words), reader.env, places[reader.name])
    found: list[float] = []
    began = children.clock.now()
    while len(found) < len(patterns):
        if not alive(read.process):
            children.forget(read)
        children.check()
        if children.clock.now() - began > _LIMIT_S:
            raise KitError(f"bench: the transport alone is not measured after {_LIMIT_S:g} s; see {read.log}")
        children.clock.sleep(_LOOK_S)
        found = _seconds(read.log)
    children.end()
    return found


def _seconds(log: Path) -> list[float]:
    """The medians that the reader has written so far."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("{")]
    return [median(json.loads(line)["seconds"][1:]) for line in lines]
