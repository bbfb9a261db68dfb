"""The pin set: whether what the plan runs is decided, and fits together."""

from __future__ import annotations

from heteropd.config.pins import PinSet
from heteropd.config.types import UNRESOLVED
from heteropd.findings import Finding
from heteropd.plan.rules.base import PlannedEngine, Rule, RuleContext, broken, each_pair


def _nixl_unresolved(context: RuleContext) -> Finding | None:
    for engine in context.engines:
        nixl = context.pins.nixl[engine.platform_name]
        if nixl.version == UNRESOLVED:
            field = f"nixl.{engine.platform_name}.version"
            problem = "the two sides' NIXL cannot be compared"
            return broken(context.pins_file, field, UNRESOLVED, problem, f"resolve it with `{nixl.resolve}`")
    return None


def _nixl_versions(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    one, other = (context.pins.nixl[engine.platform_name].version for engine in (prefill, decode))
    if UNRESOLVED in (one, other) or one.split(".")[:2] == other.split(".")[:2]:
        return None
    problem = "the two sides' NIXL differ in more than the patch level"
    fix = "pin one major.minor version for both"
    return broken(context.pins_file, "nixl", f"prefill {one}, decode {other}", problem, fix)


def _plugin_pair(context: RuleContext) -> Finding | None:
    if not context.on("gaudi") or not isinstance(context.pins, PinSet):
        return None
    for name in ("vllm", "vllm-gaudi"):
        source = context.pins.sources.get(name)
        if source is None or source.commit == UNRESOLVED:
            problem = "the Gaudi plugin follows vLLM commit by commit, so a pin set fixes both"
            value = source.commit if source else None
            return broken(
                context.pins_file, f"sources.{name}", value, problem, "pin the pair that was tested"
            )
    return None


def _base_digest(context: RuleContext) -> Finding | None:
    if context.plan.runtime != "docker" or not isinstance(context.pins, PinSet):
        return None
    for name, image in context.pins.images.items():
        if image.digest == UNRESOLVED:
            fix = f"before building, resolve it with `{image.resolve}`"
            return broken(
                context.pins_file, f"images.{name}.digest", UNRESOLVED, "a tag can move or vanish", fix
            )
    return None


def _digest_unconfirmed(context: RuleContext) -> Finding | None:
    if context.plan.runtime != "docker" or not isinstance(context.pins, PinSet):
        return None
    for name, image in context.pins.images.items():
        if image.digest != UNRESOLVED and image.resolve:
            field = f"images.{name}.digest"
            return broken(
                context.pins_file,
                field,
                image.digest,
                f"is {image.note}",
                f"confirm it with `{image.resolve}`",
            )
    return None


def _unresolved_pick(context: RuleContext) -> Finding | None:
    for pick in context.variant.unresolved:
        field = f"variants.{context.plan.variant}"
        problem = f"cannot be built before the commit of {pick.change} is known"
        fix = f"resolve it with `{pick.resolve}`, or use a pin set that needs none"
        return broken(context.pins_file, field, UNRESOLVED, problem, fix)
    return None


RULES = [
    Rule(
        "P02-nixl-pinned",
        "both sides' NIXL is pinned",
        "warn",
        "vllm-project/vllm#45843, #39851",
        _nixl_unresolved,
    ),
    Rule(
        "P03-nixl-versions",
        "both sides' NIXL have one major.minor version",
        "refuse",
        "ai-dynamo/dynamo#6671",
        each_pair(_nixl_versions),
    ),
    Rule(
        "P27-plugin-pair",
        "vLLM and its Gaudi plugin are pinned as a pair",
        "refuse",
        "vllm-project/vllm-gaudi#1534, #1587",
        _plugin_pair,
    ),
    Rule(
        "P37-base-digest",
        "base images are named by digest",
        "warn",
        "HabanaAI/vllm-fork#450, #1261",
        _base_digest,
    ),
    Rule(
        "P38-digest-confirmed",
        "digests were read from the registry, not from others",
        "warn",
        "HabanaAI/vllm-fork#1261",
        _digest_unconfirmed,
    ),
    Rule(
        "P40-unresolved-source",
        "every commit of the variant is known",
        "warn",
        "vllm-project/vllm#30448 (closed, its branch may vanish)",
        _unresolved_pick,
    ),
]
