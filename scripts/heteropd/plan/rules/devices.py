"""Devices: whether every engine has those it needs, and whether the two sides' numbers go together."""

from __future__ import annotations

from heteropd.findings import Finding
from heteropd.plan.arguments import PARALLEL
from heteropd.plan.rules.base import (
    PlannedEngine,
    Rule,
    RuleContext,
    broken,
    each_engine,
    each_pair,
    first,
)


def _devices(context: RuleContext) -> Finding | None:
    engines: dict[tuple[str, str], list[PlannedEngine]] = {}
    for engine in context.engines:
        engines.setdefault((engine.plan.host.name, engine.role), []).append(engine)
    return first(_on_host(context, sharing) for sharing in engines.values())


def _on_host(context: RuleContext, sharing: list[PlannedEngine]) -> Finding | None:
    """The engines of one role on one host, which share its devices evenly."""
    engine, many = sharing[0], len(sharing)
    host = context.host(engine)
    if host is None or not engine.platform.visible_devices:
        return None
    where, field = context.hosts_file, f"hosts.{engine.plan.host.name}.devices"
    if host.devices is None:
        if many == 1:
            return None
        problem = f"{many} {engine.role} engines would all take every device of the host"
        return broken(where, field, None, problem, f"name {many} devices or a multiple: [0, 1, …]")
    if len(host.devices) % many:
        problem = f"cannot be divided evenly among {many} {engine.role} engines"
        return broken(where, field, host.devices, problem, f"name a multiple of {many}")
    ranks = engine.arguments.ranks
    if len(host.devices) // many < ranks:
        each = f"{len(host.devices) // many} for each of {many}" if many > 1 else f"{len(host.devices)}"
        problem = f"is {each}, and {_parallel(engine)} takes {ranks}"
        fix = f"name {ranks * many}, or make what multiplies them smaller under roles.{engine.role}"
        return broken(where, field, host.devices, problem, fix)
    return None


def _parallel(engine: PlannedEngine) -> str:
    """The options that multiply an engine's devices, as they are given."""
    sizes = {option: engine.arguments.text(option) for option in PARALLEL}
    return " with ".join(f"{option} {size}" for option, size in sizes.items() if size)


def _standin_ranks(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    if not engine.plan.standin or engine.arguments.ranks == 1:
        return None
    problem = f"stand-ins are seen to work with one rank only, and {_parallel(engine)} makes more"
    return broken(context.hosts_file, f"roles.{engine.role}", engine.arguments.ranks, problem, "leave it out")


def _tensor_parallel(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    ours, theirs = prefill.arguments.tensor_parallel, decode.arguments.tensor_parallel
    field = "roles.decode.tensor_parallel_size"
    if ours == theirs:
        return None
    if ours > theirs or theirs % ours:
        problem = f"the decode's {theirs} must be a whole number times the prefill's {ours}"
        fix = "make both equal, or the decode's a multiple of the prefill's"
        return broken(context.hosts_file, field, theirs, problem, fix)
    if prefill.kv.wire_layout != "HND":
        problem = (
            f"with {ours} on the prefill, a rank takes its heads out of the blocks that arrive,"
            " which only HND lets it"
        )
        fix = "make both equal, or use prefill_kv_layout=HND"
        return broken(context.hosts_file, field, theirs, problem, fix)
    return None


def _pipeline(_context: RuleContext, engine: PlannedEngine) -> Finding | None:
    for option in ("--pipeline-parallel-size", "--prefill-context-parallel-size"):
        size = engine.arguments.number(option, 1)
        if size > 1:
            problem = "NixlConnector refuses engines whose layers or prompts are split"
            return engine.option_finding(option, size, problem, "use tensor_parallel_size, or more engines")
    return None


RULES = [
    Rule(
        "P49-tensor-parallel",
        "the two sides' tensor parallel sizes are ones that the connector joins",
        "refuse",
        "vllm-project/vllm#27274, #26556 (HND for the heads of several ranks)",
        each_pair(_tensor_parallel),
    ),
    Rule(
        "P50-devices",
        "a host's devices go evenly to its engines, and each has as many as its ranks",
        "refuse",
        "the kit's own limit",
        _devices,
    ),
    Rule(
        "P61-pipeline",
        "no engine splits its layers or its prompts over devices",
        "refuse",
        "vllm-project/vllm#40674, #52913",
        each_engine(_pipeline),
    ),
    Rule(
        "P62-stand-in-ranks",
        "a stand-in has one rank",
        "refuse",
        "the kit's own limit",
        each_engine(_standin_ranks),
    ),
]
