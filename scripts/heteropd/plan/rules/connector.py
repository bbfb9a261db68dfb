"""The connector's settings, and the switches of the Gaudi plugin."""

from typing import Any

from heteropd.findings import Finding
from heteropd.plan.engines import KV_TRANSFER
from heteropd.plan.rules.base import PlannedEngine, RuleContext, broken, engines, first, pairs, rule

_KEEP_OFF = "keep --no-enable-prefix-caching (prefix_caching: false)"
HETERO_LAYOUT = "VLLM_HPU_HETERO_KV_LAYOUT"
JOINT_KV = "VLLM_HPU_NIXL_JOINT_KV"
LEASE_GUARD = "heteropd_engine.lease_guard.LeaseGuard"
DEVICE_TO_DEVICE = "VLLM_NIXL_DEVICE_TO_DEVICE"


@rule("P19-handshake-compat", pairs)
def _handshake(_context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    if prefill.plan.platform == decode.plan.platform:
        return None
    return first(_engine_handshake(engine) for engine in (prefill, decode))


def _engine_handshake(engine: PlannedEngine) -> Finding | None:
    if engine.kv_transfer is None or engine.kv_extra.get("enforce_handshake_compat", True) is False:
        return None
    problem = "the handshake compares versions and attention backends, which differ between platforms"
    fix = 'set "enforce_handshake_compat": false; the kit compares what matters itself'
    value = engine.kv_extra.get("enforce_handshake_compat")
    return engine.option_finding("enforce_handshake_compat", value, problem, fix)


@rule("P24-prefix-caching", engines)
def _prefix_caching(_context: RuleContext, engine: PlannedEngine) -> Finding | None:
    if engine.role != "prefill" or not engine.kv.convert_on_save or not engine.prefix_caching:
        return None
    problem = "with prefix caching on, the conversion is skipped without a word and the decode reads wrong KV"
    return engine.option_finding("prefix caching", "on", problem, _KEEP_OFF)


@rule("P25-hetero-switch", engines)
def _hetero_switch(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    value = engine.plan.env.get(HETERO_LAYOUT)
    needed = engine.plan.runs_on == "gaudi" and (value is not None or context.pins.switches.hetero_layout)
    if not needed or value == "true":
        return None
    problem = "only the text 'true' switches the heterogeneous connector on; anything else is ignored"
    return engine.env_finding(HETERO_LAYOUT, problem, "set it to 'true'")


@rule("P26-joint-kv", pairs)
def _joint_kv(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    if not context.pins.switches.joint_kv or (prefill.plan.runs_on, decode.plan.runs_on) != ("gaudi", "cuda"):
        return None
    if prefill.plan.env.get(JOINT_KV) == "true":
        return None
    problem = "a GPU decode counts K and V as one layer and refuses this prefill's handshake"
    return prefill.env_finding(JOINT_KV, problem, "set it to 'true'")


@rule("P28-device-to-device", engines)
def _device_to_device(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    on = engine.plan.env.get(DEVICE_TO_DEVICE, "").lower() in ("1", "true")
    through_host = context.variant.kv_buffer_device == "cpu"
    if engine.plan.runs_on != "gaudi" or on != through_host:
        return None
    memories = ("host", "device") if through_host else ("device", "host")
    problem = "{} memory would be registered as {} memory".format(*memories)
    return engine.env_finding(DEVICE_TO_DEVICE, problem, f"set it to '{int(not through_host)}'")


@rule("P44-kv-transfer-config", engines)
def _kv_transfer(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    config = engine.kv_transfer
    if config is None:
        problem = "is not a JSON object"
        return engine.option_finding(
            KV_TRANSFER, engine.arguments.text(KV_TRANSFER), problem, "correct the JSON"
        )
    one_way = {"prefill": "kv_producer", "decode": "kv_consumer"}[engine.role]
    expected: dict[str, tuple[Any, ...]] = {
        "kv_role": ("kv_both", one_way),
        "kv_buffer_device": (
            context.variant.kv_buffer_device or engine.platform.kv_transfer.kv_buffer_device,
        ),
    }
    if not engine.plan.standin:
        digest = context.plan.parameters.get("digest")
        connector = context.env.defaults.digest.connector if digest else "NixlConnector"
        expected["kv_connector"] = (connector,)
    agreed = context.plan.agreed_block_size
    if agreed is not None:
        expected["agreed_block_size"] = (agreed, str(agreed))
    given = {**config, **engine.kv_extra}
    for name, values in expected.items():
        if given.get(name) not in values:
            problem = f"this plan needs {' or '.join(map(repr, values[:2]))}"
            if name == "agreed_block_size":
                problem = f"this plan needs {agreed}"
            return engine.option_finding(name, given.get(name), problem, f"set {name!r} to it")
    return None


@rule("P63-recompute", engines)
def _recompute(_context: RuleContext, engine: PlannedEngine) -> Finding | None:
    policy = {**(engine.kv_transfer or {}), **engine.kv_extra}.get("kv_load_failure_policy")
    if policy != "recompute":
        return None
    problem = "a decode that computes prompts itself, when their KV does not come, hides that no KV moves"
    return engine.option_finding("kv_load_failure_policy", policy, problem, "use fail")


@rule("P70-kv-digest")
def _digest(context: RuleContext) -> Finding | None:
    mode, pins = context.request.parameters.digest, context.plan.pins
    if mode == "off" or context.plan.parameters.get("digest"):
        return None
    without = sorted(
        {engine.plan.runs_on for engine in context.engines} - context.env.kv_digest(context.pins)
    )
    problem = f"is left out: connectors of {' and '.join(without)} engines of {pins} do not let it"
    return broken(context.request.origins["digest"], "digest", mode, problem, "stand-ins have it")


@rule("P73-lease-guard", pairs)
def _lease_guard(_context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    guarded = [engine for engine in (prefill, decode) if LEASE_GUARD in engine.plan.argv]
    if len(guarded) != 1:
        return None
    problem = "guards leases on one side only: the decode then refuses every request"
    return guarded[0].option_finding("--middleware", LEASE_GUARD, problem, "give both roles it, or neither")
