"""UCX transports: which path the bytes of a KV block take."""

from heteropd import ucx
from heteropd.findings import Finding
from heteropd.plan.rules.base import PlannedEngine, RuleContext, engines, pairs, rule


@rule("P07-ucx-tls-device", engines)
def _without_device(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    device, named = engine.platform.transports.device, ucx.transports(engine.plan.env)
    if device is None or named.allows(device) or context.variant.kv_buffer_device:
        return None
    problem = f"leaves out {device}, without which UCX cannot reach the device's memory"
    fix = _spaced(named) or (f"add {device}" if named.mode == "named" else f"do not exclude {device}")
    return engine.env_finding(ucx.TLS, problem, fix)


@rule("P08-ucx-tls-tcp", engines)
def _slow_path(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    facts, named = engine.platform.transports, ucx.transports(engine.plan.env)
    if context.request.hosts is None:  # one machine has no fabric to hide
        return None
    slow = [transport for transport in facts.forbidden if named.allows(transport)]
    if not slow:
        return None
    problem = f"names {', '.join(slow)}, which hides a broken fabric behind a path 100 times slower"
    if named.mode != "named":
        problem = "lets UCX take any transport, TCP too, when the fabric is broken"
    fast = ["ib", "rc", *([facts.device] if facts.device else [])]
    return engine.env_finding(ucx.TLS, problem, f"use {','.join(fast)}")


@rule("P39-ucx-tls-common", engines)
def _nothing_in_common(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    common, named = engine.platform.transports.any_of, ucx.transports(engine.plan.env)
    if not common or context.request.hosts is None or any(map(named.allows, common)):
        return None
    problem = (
        "names nothing that both sides have (Gaudi's UCX is built without mlx5, so rc_mlx5 is CUDA's alone)"
    )
    words = dict.fromkeys(word for transport in common for word in ucx.names_for(transport))
    return engine.env_finding(ucx.TLS, problem, _spaced(named) or f"add one of {', '.join(words)}")


@rule("P72-others-memory", pairs)
def _others_memory(_context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    """A stand-in beside a real engine: its UCX must know the memory that it reads or is read from."""
    for engine, peer in ((prefill, decode), (decode, prefill)):
        device = peer.platform.transports.device
        if not engine.plan.standin or device is None:
            continue
        problem = f"UCX does not know the memory of {peer.plan.runs_on}, so that no transfer ends well"
        if not ucx.transports(engine.plan.env).allows(device):
            return engine.env_finding(ucx.TLS, problem, f"add {device}")
        left_out = ucx.left_out_modules(engine.plan.env)
        if device.partition("_")[0] in left_out:
            return engine.env_finding(ucx.MODULES, problem, f"do not leave out {device.partition('_')[0]}")
    return None


def _spaced(named: ucx.Transports) -> str | None:
    """The fix for a word with a space about it."""
    spaced = [word for word in named.words if word != word.strip()]
    return f"leave out the space: to UCX it is part of {spaced[0]!r}" if spaced else None
