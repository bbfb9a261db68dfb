"""The pin set: whether what the plan runs is decided, and fits together."""

from heteropd.config.pins import BuildBase, PinSet
from heteropd.config.types import UNRESOLVED
from heteropd.findings import Finding
from heteropd.plan.rules.base import PlannedEngine, RuleContext, broken, pairs, rule


@rule("P02-nixl-pinned")
def _nixl_unresolved(context: RuleContext) -> Finding | None:
    for engine in context.engines:
        nixl = context.pins_of(engine).nixl[engine.platform_name]
        if nixl.version == UNRESOLVED:
            field = f"nixl.{engine.platform_name}.version"
            problem = "the two sides' NIXL cannot be compared"
            return broken(context.pins_file, field, UNRESOLVED, problem, f"resolve it with `{nixl.resolve}`")
    return None


@rule("P03-nixl-versions", pairs)
def _nixl_versions(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    sides = (prefill, decode)
    ours, theirs = (context.pins_of(engine).nixl[engine.platform_name].version for engine in sides)
    if UNRESOLVED in (ours, theirs) or ours.split(".")[:2] == theirs.split(".")[:2]:
        return None
    problem = "the two sides' NIXL differ in more than the patch level"
    fix = "pin one major.minor version for both"
    return broken(context.pins_file, "nixl", f"prefill {ours}, decode {theirs}", problem, fix)


@rule("P71-one-release", pairs)
def _one_release(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    ours, theirs = (context.pins_of(engine).vllm for engine in (prefill, decode))
    if ours == theirs:
        return None
    standin = context.env.standin.vllm
    fitting = [name for name, pins in context.env.accelerator_pins.items() if pins.vllm == standin]
    problem = f"prefill vLLM {ours}, decode {theirs}: each NixlConnector knows its own release's handshake"
    return context.parameter("pins", problem, f"use pins={fitting[0]}" if fitting else "pin one release")


@rule("P27-plugin-pair")
def _plugin_pair(context: RuleContext) -> Finding | None:
    if not context.on("gaudi") or not isinstance(context.pins, PinSet):
        return None
    for name in ("vllm", "vllm-gaudi"):
        source = context.pins.sources.get(name)
        if source is None or (source.commit == UNRESOLVED and source.follows is None):
            problem = "the Gaudi plugin follows vLLM commit by commit, so a pin set fixes both"
            value = source.commit if source else None
            return broken(
                context.pins_file, f"sources.{name}", value, problem, "pin the pair that was tested"
            )
    return None


@rule("P37-base-digest")
def _base_digest(context: RuleContext) -> Finding | None:
    for field, image in _base_images(context).items():
        if image.digest == UNRESOLVED:
            fix = f"before building, resolve it with `{image.resolve}`"
            return broken(context.pins_file, field, UNRESOLVED, "a tag can move or vanish", fix)
    return None


@rule("P38-digest-confirmed")
def _digest_unconfirmed(context: RuleContext) -> Finding | None:
    for field, image in _base_images(context).items():
        if image.digest != UNRESOLVED and image.resolve:
            fix = f"confirm it with `{image.resolve}`"
            return broken(context.pins_file, field, image.digest, f"is {image.note}", fix)
    return None


def _base_images(context: RuleContext) -> dict[str, BuildBase]:
    """What a plan's containers are built on, by field; none where no container of accelerators runs."""
    if context.plan.runtime != "docker" or not isinstance(context.pins, PinSet):
        return {}
    return {f"images.{name}.digest": image for name, image in context.pins.images.items()}


@rule("P40-unresolved-source")
def _unresolved_pick(context: RuleContext) -> Finding | None:
    sources = context.pins.sources if isinstance(context.pins, PinSet) else {}
    for name, source in sources.items():
        if source.commit == UNRESOLVED:
            problem = f"cannot be built before the commit of {source.ref or name} is known"
            fix = f"resolve it with `make lock pins={context.plan.pins}`"
            return broken(context.pins_file, f"sources.{name}.commit", UNRESOLVED, problem, fix)
    for pick in context.variant.unresolved:
        field = f"variants.{context.plan.variant}"
        problem = f"cannot be built before the commit of {pick.change} is known"
        fix = f"resolve it with `{pick.resolve}`, or use a pin set that needs none"
        return broken(context.pins_file, field, UNRESOLVED, problem, fix)
    return None
