"""Devices: whether every engine has those it needs, and whether the two sides' numbers go together."""

from __future__ import annotations

from heteropd.plan.engines import TENSOR_PARALLEL
from heteropd.plan.rules.base import Finding, PlannedEngine, Rule, RuleContext, each_pair


def _devices(context: RuleContext) -> Finding | None:
    engines: dict[tuple[str, str], list[PlannedEngine]] = {}
    for engine in context.engines:
        engines.setdefault((engine.plan.host.name, engine.role), []).append(engine)
    for sharing in engines.values():
        found = _on_host(context, sharing)
        if found is not None:
            return found
    return None


def _on_host(context: RuleContext, sharing: list[PlannedEngine]) -> Finding | None:
    """The engines of one role on one host, which share its devices evenly."""
    engine, many = sharing[0], len(sharing)
    host = context.host(engine)
    if host is None or not engine.platform.visible_devices:
        return None
    where, field = context.request.hosts_file or "hosts", f"hosts.{engine.plan.host.name}.devices"
    if host.devices is None:
        if many == 1:
            return None
        problem = f"{many} {engine.role} engines would all take every device of the host"
        return Finding(where, field, None, problem, f"name {many} devices or a multiple: [0, 1, …]")
    if len(host.devices) % many:
        problem = f"cannot be divided evenly among {many} {engine.role} engines"
        return Finding(where, field, host.devices, problem, f"name a multiple of {many}")
    if len(host.devices) // many < engine.ranks:
        each = f"{len(host.devices) // many} for each of {many}" if many > 1 else f"{len(host.devices)}"
        problem = f"is {each}, and {TENSOR_PARALLEL} {engine.ranks} takes {engine.ranks}"
        fix = f"name {engine.ranks * many}, or make roles.{engine.role}.tensor_parallel_size smaller"
        return Finding(where, field, host.devices, problem, fix)
    return None


def _ranks(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    where = context.request.hosts_file or "hosts"
    for engine in (prefill, decode):
        if engine.plan.standin and engine.ranks > 1:
            problem = "stand-ins are seen to work with one rank only"
            return Finding(where, _field(engine), engine.ranks, problem, "leave it out")
    if prefill.ranks == decode.ranks:
        return None
    if prefill.ranks > decode.ranks or decode.ranks % prefill.ranks:
        problem = f"the decode's {decode.ranks} must be a whole number times the prefill's {prefill.ranks}"
        fix = "make both equal, or the decode's a multiple of the prefill's"
        return Finding(where, _field(decode), decode.ranks, problem, fix)
    if prefill.kv.wire_layout != "HND":
        problem = (
            f"with {prefill.ranks} on the prefill, a rank takes its heads out of the blocks that arrive,"
            " which only HND lets it"
        )
        fix = "make both equal, or use prefill_kv_layout=HND"
        return Finding(where, _field(decode), decode.ranks, problem, fix)
    return None


def _field(engine: PlannedEngine) -> str:
    return f"roles.{engine.role}.tensor_parallel_size"


RULES = [
    Rule(
        "P49-tensor-parallel",
        "the two sides' tensor parallel sizes are ones that the connector joins",
        "refuse",
        "vllm-project/vllm#27274, #26556 (HND for the heads of several ranks)",
        each_pair(_ranks),
    ),
    Rule(
        "P50-devices",
        "a host's devices go evenly to its engines, and each has as many as its ranks",
        "refuse",
        "the kit's own limit",
        _devices,
    ),
]
