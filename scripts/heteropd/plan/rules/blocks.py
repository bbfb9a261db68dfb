"""KV blocks: whether the decode can turn what arrives into what it keeps."""

from heteropd.config.pins import Capability
from heteropd.findings import Finding
from heteropd.plan.geometry import able, missing, needs, reuse_is_wrong
from heteropd.plan.rules.base import PlannedEngine, RuleContext, pairs, rule


@rule("P21-block-order", pairs)
def _block_order(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    wire, own = prefill.kv.wire_block_size, decode.kv.block_size
    if wire <= own and own % wire == 0:
        return None
    problem = f"the decode's {own}-token block must be a whole number of the prefill's {wire}-token blocks"
    converting = [name for name, case in context.env.cases.items() if case.prefill.convert_on_save]
    fix = f"make decode_block_size a multiple of {wire}, or prefill_block_size smaller"
    if converting:
        fix += f" (in {', '.join(converting)} the prefill converts to the common block size)"
    return context.parameter(context.blame("decode_block_size", "prefill_block_size"), problem, fix)


@rule("P41-block-multiple")
def _block_multiple(context: RuleContext) -> Finding | None:
    for engine in context.engines:
        multiple = engine.platform.block_multiple
        if engine.kv.block_size % multiple:
            problem = f"attention on {engine.plan.runs_on} takes multiples of {multiple} tokens"
            return context.parameter(f"{engine.role}_block_size", problem, f"use a multiple of {multiple}")
    return None


@rule("P22-layout", pairs)
def _layout(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    wire, own = prefill.kv.wire_layout, decode.kv.layout
    if wire == own:
        return None
    if (wire, own) == ("NHD", "HND"):
        problem = "a decode turns HND into NHD, never NHD into HND"
        field = context.blame("decode_kv_layout", "prefill_kv_layout")
        return context.parameter(field, problem, "use HND on the prefill, or NHD on both sides")
    config = None if context.variant.kv_buffer_device else decode.kv_transfer  # rule P23 says why
    if config is not None and str(config.get("enable_permute_local_kv")).lower() != "true":
        problem = (
            "takes the prefill's HND blocks only with enable_permute_local_kv, which this decode does not set"
        )
        return context.parameter("decode_kv_layout", problem, "use HND")
    return None


@rule("P48-decode-prefix-cache", pairs)
def _decode_prefix_cache(
    _context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine
) -> Finding | None:
    if not decode.prefix_caching or not reuse_is_wrong(prefill.kv, decode.kv):
        return None
    problem = (
        "a prompt whose beginning the decode has cached gets wrong KV with HTTP 200:"
        f" {prefill.kv.wire_block_size}-token blocks arrive, its own hold {decode.kv.block_size}"
    )
    fix = "add --no-enable-prefix-caching under roles.decode.args of the hosts file"
    return decode.option_finding("--no-enable-prefix-caching", "absent", problem, fix)


@rule("P42-receives", pairs)
def _receives(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    return _converts_too_much(context, prefill, decode, decode.plan.runs_on)


@rule("P46-stand-in-receives", pairs)
def _original_receives(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    if not decode.plan.standin:
        return None
    return _converts_too_much(context, prefill, decode, decode.plan.platform, "; only its stand-in does")


def _converts_too_much(
    context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine, platform: str, remark: str = ""
) -> Finding | None:
    receives = context.env.platforms[platform].receives
    wire, own = prefill.kv, decode.kv
    if wire.wire_layout != own.layout and not receives.layout:
        problem = f"a {platform} decode does not convert the layout of what it receives{remark}"
        return context.parameter("decode_kv_layout", problem, f"use {wire.wire_layout}")
    if wire.wire_block_size != own.block_size and not receives.block:
        problem = f"a {platform} decode does not convert the block size of what it receives{remark}"
        fix = f"use {wire.wire_block_size}, which is what the prefill presents"
        return context.parameter("decode_block_size", problem, fix)
    return None


@rule("P23-block-and-layout", pairs)
def _variant_receives(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    return _variant_lacks(
        context, prefill, decode, tuple(name for name in _SAID if name != "prefill_conversion")
    )


@rule("P45-converts", pairs)
def _variant_converts(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    return _variant_lacks(context, prefill, decode, ("prefill_conversion",))


def _variant_lacks(
    context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine, capabilities: tuple[Capability, ...]
) -> Finding | None:
    needed = [capability for capability in needs(prefill.kv, decode.kv) if capability in capabilities]
    lacking = missing(context.variant, needed)
    if not lacking:
        return None
    platforms = {prefill.platform_name, decode.platform_name}
    fitting = able(context.pins.variants, lacking[0])
    sets = [
        name
        for name, pins in context.env.pins.items()
        if platforms <= set(pins.platforms) and able(pins.variants, lacking[0])
    ]
    fix = (
        f"use variant={fitting[0]}" if fitting else f"use pins={sets[0]}" if sets else "make both sides equal"
    )
    problem = f"the variant of {context.plan.pins} does not do {_SAID[lacking[0]]}"
    if context.variant.kv_buffer_device:
        problem += ": its KV goes through the hosts' memory, where nothing is converted"
    if context.request.parameters.variant == "auto":
        geometry = [
            f"{role}_{what}" for role in ("prefill", "decode") for what in ("kv_layout", "block_size")
        ]
        return context.parameter(context.blame(*geometry), problem, fix)
    return context.parameter("variant", problem, fix)


def _differs(prefill: PlannedEngine, decode: PlannedEngine) -> bool:
    kv, own = prefill.kv, decode.kv
    return kv.convert_on_save or (kv.wire_layout, kv.wire_block_size) != (own.layout, own.block_size)


@rule("P68-hybrid-model", pairs)
def _hybrid(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    facts = context.request.model_facts
    if facts is None or facts.family != "hybrid" or not _differs(prefill, decode):
        return None
    problem = f"has layers that keep a state instead of KV blocks ({facts.file}), which nothing converts"
    return context.parameter("model", problem, "give both sides one layout and one block size")


@rule("P69-model-family", pairs)
def _family(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    facts = context.request.model_facts
    if facts is None or facts.family not in _FAMILIES or not _differs(prefill, decode):
        return None
    if facts.family == "windowed" and prefill.arguments.is_on(_ONE_MANAGER):
        return None
    kinds, fix = _FAMILIES[facts.family]
    problem = f"{kinds} ({facts.file}), and the two sides keep KV differently: seen by nobody to work"
    return context.parameter("model", problem, fix)


_ONE_MANAGER = "--disable-hybrid-kv-cache-manager"
_FAMILIES = {
    "windowed": ("has layers with a window beside full ones", f"give both roles {_ONE_MANAGER}"),
    "mla": ("keeps compressed KV without heads (MLA)", "give both sides one layout and one block size"),
}
_SAID: dict[Capability, str] = {
    "hetero_block_and_layout": "different block sizes and layouts at once",
    "hetero_block": "different block sizes",
    "hetero_block_nhd": "different block sizes in NHD on both sides",
    "hetero_layout": "different layouts",
    "prefill_conversion": "the conversion on save that this case asks of the prefill",
}
