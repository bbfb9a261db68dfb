"""How blocks of KV look on each side and on the wire, and what a pin set must be able to do for them."""

import math
from collections.abc import Mapping

from heteropd.config.pins import Capability, Pins, Variant
from heteropd.config.types import KVLayout
from heteropd.plan.model import KVGeometry

WIRE_LAYOUT: KVLayout = "HND"
"""What a prefill that converts on save presents: the only layout that receivers convert from."""


def agreed_block_size(prefill: int, decode: int) -> int:
    """The largest block size, in tokens, that both sides' blocks are made of."""
    return math.gcd(prefill, decode)


def prefill_geometry(layout: KVLayout, block: int, *, convert_to: int | None) -> KVGeometry:
    """The prefill's cache; ``convert_to`` is the agreed block size where it converts on save."""
    return KVGeometry(
        layout=layout,
        block_size=block,
        wire_layout=layout if convert_to is None else WIRE_LAYOUT,
        wire_block_size=block if convert_to is None else convert_to,
        convert_on_save=convert_to is not None,
    )


def decode_geometry(layout: KVLayout, block: int, prefill: KVGeometry, *, may_permute: bool) -> KVGeometry:
    """The decode's cache. It permutes only what arrives as HND and is kept as NHD."""
    return KVGeometry(
        layout=layout,
        block_size=block,
        wire_layout=layout,
        wire_block_size=block,
        permute_on_receive=may_permute and (prefill.wire_layout, layout) == ("HND", "NHD"),
    )


def reuse_is_wrong(prefill: KVGeometry, decode: KVGeometry) -> bool:
    """True where a decode must not keep a prefix cache.

    When the beginning of a prompt lies in the decode's prefix cache, vLLM transfers only the rest, and takes
    the *last* arriving blocks for it, as many as fit into the decode's own: right for equal blocks, wrong KV
    under HTTP 200 for larger ones (vllm-project/vllm#32204 shows the line; seen with vLLM 0.32).
    """
    return prefill.wire_block_size != decode.block_size


def needs(prefill: KVGeometry, decode: KVGeometry) -> list[Capability]:
    """What the software must be able to do to bring the prefill's blocks into the decode's cache."""
    needed: list[Capability] = []
    if (prefill.layout, prefill.block_size) != (prefill.wire_layout, prefill.wire_block_size):
        needed.append("prefill_conversion")
    layout = prefill.wire_layout != decode.layout
    block = prefill.wire_block_size != decode.block_size
    if layout and block:
        needed.append("hetero_block_and_layout")
    elif layout:
        needed.append("hetero_layout")
    elif block:
        needed.append("hetero_block" if decode.layout == "HND" else "hetero_block_nhd")
    return needed


def choose_variant(pins: Pins, needed: list[Capability]) -> str:
    """The first variant that can do all of it; the first variant where none can (rules then say why)."""
    for name, variant in pins.variants.items():
        if not missing(variant, needed):
            return name
    return next(iter(pins.variants))


def missing(variant: Variant, needed: list[Capability]) -> list[Capability]:
    """What of it the variant cannot do."""
    return [capability for capability in needed if capability not in variant.capabilities]


def able(variants: Mapping[str, Variant], capability: Capability) -> list[str]:
    """The variants that can."""
    return [name for name, variant in variants.items() if capability in variant.capabilities]
