"""UCX transports: which path the bytes of a KV block take."""

from __future__ import annotations

from heteropd.plan.rules.base import Finding, PlannedEngine, Rule, RuleContext, first

UCX_TLS = "UCX_TLS"


def _named(engine: PlannedEngine) -> list[str]:
    return [word for word in engine.plan.env.get(UCX_TLS, "").split(",") if word]


def _without_device(context: RuleContext) -> Finding | None:
    return first([_engine_without_device(engine) for engine in context.engines])


def _engine_without_device(engine: PlannedEngine) -> Finding | None:
    device = engine.platform.transports.device
    if device is None or device in _named(engine):
        return None
    problem = f"names no {device}, without which UCX cannot reach the device's memory"
    return engine.env_finding(UCX_TLS, problem, f"add {device}")


def _slow_path(context: RuleContext) -> Finding | None:
    return first([_engine_with_slow_path(engine) for engine in context.engines])


def _engine_with_slow_path(engine: PlannedEngine) -> Finding | None:
    forbidden = engine.platform.transports.forbidden
    if not forbidden:
        return None
    named = _named(engine)
    if not named or named[0].startswith("^"):
        problem = "lets UCX take any transport, TCP too, when the fabric is broken"
    elif slow := [word for word in named if word in forbidden]:
        problem = f"names {', '.join(slow)}, which hides a broken fabric behind a path 100 times slower"
    else:
        return None
    platform = engine.platform
    fast = ["ib", "rc", *([platform.transports.device] if platform.transports.device else [])]
    return engine.env_finding(UCX_TLS, problem, f"use {','.join(fast)}")


def _nothing_in_common(context: RuleContext) -> Finding | None:
    return first([_engine_without_fabric(engine) for engine in context.engines])


def _engine_without_fabric(engine: PlannedEngine) -> Finding | None:
    wanted = engine.platform.transports.any_of
    named = _named(engine)
    if not wanted or not named or named[0].startswith("^") or set(wanted) & set(named):
        return None
    problem = (
        "names nothing that both sides have (Gaudi's UCX is built without mlx5, so rc_mlx5 is CUDA's alone)"
    )
    return engine.env_finding(UCX_TLS, problem, f"add one of {', '.join(wanted)}")


RULES = [
    Rule(
        "P07-ucx-tls-device",
        "UCX_TLS names the transport of the role's device",
        "refuse",
        "LMCache/LMCache#605, ai-dynamo/nixl#1628",
        _without_device,
    ),
    Rule(
        "P08-ucx-tls-tcp",
        "UCX_TLS lets no slow path in",
        "refuse",
        "vllm-project/aibrix#1407, ai-dynamo/nixl#1754",
        _slow_path,
    ),
    Rule(
        "P39-ucx-tls-common",
        "UCX_TLS names a transport that both sides have",
        "refuse",
        "vllm-project/vllm-gaudi#711 (--with-mlx5=no)",
        _nothing_in_common,
    ),
]
