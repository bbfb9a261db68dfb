"""The connector's settings, and the switches of the Gaudi plugin."""

from __future__ import annotations

from typing import Any

from heteropd import ucx
from heteropd.plan.engines import TENSOR_PARALLEL
from heteropd.plan.rules.base import KV_TRANSFER, Finding, PlannedEngine, Rule, RuleContext, each_pair, first

_KEEP_OFF = "keep --no-enable-prefix-caching (prefix_caching: false)"
HETERO_LAYOUT = "VLLM_HPU_HETERO_KV_LAYOUT"
JOINT_KV = "VLLM_HPU_NIXL_JOINT_KV"
DEVICE_TO_DEVICE = "VLLM_NIXL_DEVICE_TO_DEVICE"

# What a parameter says already: a second place could only disagree with it.
SHADOWED = {
    "VLLM_KV_CACHE_LAYOUT": "{role}_kv_layout=…",
    "VLLM_NIXL_SIDE_CHANNEL_PORT": "roles.{role}.side_channel_port",
    "--block-size": "{role}_block_size=…",
    "--port": "{role}_port=…",
    "--model": "model=…",
    "--served-model-name": "model=…",
    TENSOR_PARALLEL: "roles.{role}.tensor_parallel_size",
    "-tp": "roles.{role}.tensor_parallel_size",
}


def _handshake(_context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    if prefill.plan.platform == decode.plan.platform:
        return None
    return first([_engine_handshake(engine) for engine in (prefill, decode)])


def _engine_handshake(engine: PlannedEngine) -> Finding | None:
    if engine.kv_transfer is None or engine.kv_extra.get("enforce_handshake_compat", True) is False:
        return None
    problem = "the handshake compares versions and attention backends, which differ between platforms"
    fix = 'set "enforce_handshake_compat": false; the kit compares what matters itself'
    value = engine.kv_extra.get("enforce_handshake_compat")
    return engine.option_finding("enforce_handshake_compat", value, problem, fix)


def _prefix_caching(context: RuleContext) -> Finding | None:
    return first([_engine_prefix_caching(engine) for engine in context.engines if engine.role == "prefill"])


def _engine_prefix_caching(prefill: PlannedEngine) -> Finding | None:
    if not prefill.kv.convert_on_save or not prefill.prefix_caching:
        return None
    problem = "with prefix caching on, the conversion is skipped without a word and the decode reads wrong KV"
    return prefill.option_finding("prefix caching", "on", problem, _KEEP_OFF)


def _hetero_switch(context: RuleContext) -> Finding | None:
    return first([_engine_hetero_switch(engine, context) for engine in context.on("gaudi")])


def _engine_hetero_switch(engine: PlannedEngine, context: RuleContext) -> Finding | None:
    value = engine.plan.env.get(HETERO_LAYOUT)
    if value == "true" or (value is None and not context.pins.switches.hetero_layout):
        return None
    problem = "only the text 'true' switches the heterogeneous connector on; anything else is ignored"
    return engine.env_finding(HETERO_LAYOUT, problem, "set it to 'true'")


def _joint_kv(context: RuleContext) -> Finding | None:
    if not context.pins.switches.joint_kv or not any(one.role == "decode" for one in context.on("cuda")):
        return None
    return first([_engine_joint_kv(engine) for engine in context.engines if engine.role == "prefill"])


def _engine_joint_kv(prefill: PlannedEngine) -> Finding | None:
    if prefill.plan.runs_on != "gaudi" or prefill.plan.env.get(JOINT_KV) == "true":
        return None
    problem = "a GPU decode counts K and V as one layer and refuses this prefill's handshake"
    return prefill.env_finding(JOINT_KV, problem, "set it to 'true'")


def _device_to_device(context: RuleContext) -> Finding | None:
    return first([_engine_device_to_device(engine) for engine in context.on("gaudi")])


def _engine_device_to_device(engine: PlannedEngine) -> Finding | None:
    if engine.plan.env.get(DEVICE_TO_DEVICE, "").lower() in ("1", "true"):
        return None
    problem = "device memory would be registered as host memory"
    return engine.env_finding(DEVICE_TO_DEVICE, problem, "set it to '1'")


def _shadowed(context: RuleContext) -> Finding | None:
    hosts = context.request.hosts
    for role, additions in hosts.roles.items() if hosts else ():
        decided = SHADOWED | _decided_by_hosts(role, context)
        words = [*additions.env, *(word.partition("=")[0] for word in additions.args)]
        for word in words:
            if word in decided:
                where = context.request.hosts_file or "hosts"
                problem = "is decided elsewhere, and a second place could only disagree"
                fix = f"say {decided[word].format(role=role)} instead"
                return Finding(where, f"roles.{role}", word, problem, fix)
    return None


def _decided_by_hosts(role: str, context: RuleContext) -> dict[str, str]:
    """Variables of a role that fields of its hosts set, and those fields."""
    found: dict[str, str] = {}
    for engine in context.engines:
        host = context.host(engine)
        if engine.role != role or host is None or not engine.platform.accelerator:
            continue
        if host.nics:
            found.setdefault(ucx.NET_DEVICES, f"hosts.{engine.plan.host.name}.nics")
        if host.devices and engine.platform.visible_devices:
            found.setdefault(engine.platform.visible_devices, f"hosts.{engine.plan.host.name}.devices")
    return found


def _kv_transfer(context: RuleContext) -> Finding | None:
    return first([_engine_kv_transfer(engine, context) for engine in context.engines])


def _engine_kv_transfer(engine: PlannedEngine, context: RuleContext) -> Finding | None:
    config = engine.kv_transfer
    if config is None:
        problem = "is not a JSON object"
        return engine.option_finding(KV_TRANSFER, engine.option(KV_TRANSFER), problem, "correct the JSON")
    expected: dict[str, Any] = {
        "kv_role": "kv_both",
        "kv_buffer_device": engine.platform.kv_transfer.kv_buffer_device,
    }
    if not engine.plan.standin:
        expected["kv_connector"] = "NixlConnector"
    given = {**config, **engine.kv_extra}
    if context.plan.agreed_block_size is not None:
        expected["agreed_block_size"] = context.plan.agreed_block_size
    for name, value in expected.items():
        if given.get(name) != value:
            problem = f"this plan needs {value!r}"
            return engine.option_finding(name, given.get(name), problem, f"set {name!r} to it")
    return None


RULES = [
    Rule(
        "P19-handshake-compat",
        "enforce_handshake_compat is false between different platforms",
        "refuse",
        "vllm-project/vllm#29503, vllm-project/vllm-gaudi#1087",
        each_pair(_handshake),
    ),
    Rule(
        "P24-prefix-caching",
        "a prefill that converts on save keeps prefix caching off",
        "refuse",
        "vllm-project/vllm#30448 (review)",
        _prefix_caching,
    ),
    Rule(
        "P25-hetero-switch",
        "VLLM_HPU_HETERO_KV_LAYOUT is the text 'true'",
        "refuse",
        "vllm-project/vllm-gaudi#867",
        _hetero_switch,
    ),
    Rule(
        "P26-joint-kv",
        "a Gaudi prefill joins K and V for a GPU decode",
        "refuse",
        "vllm-project/vllm-gaudi#1588, #1606",
        _joint_kv,
    ),
    Rule(
        "P28-device-to-device",
        "VLLM_NIXL_DEVICE_TO_DEVICE is on where Gaudi's plugin reads it",
        "refuse",
        "vllm-gaudi's platform.py",
        _device_to_device,
    ),
    Rule(
        "P43-shadowed",
        "additions leave alone what a parameter or a host's field decides",
        "refuse",
        "the kit's own limit",
        _shadowed,
    ),
    Rule(
        "P44-kv-transfer-config",
        "the connector's configuration is the plan's",
        "refuse",
        "the kit's own limit",
        _kv_transfer,
    ),
]
