"""How many bytes a token's KV takes, from the model's configuration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heteropd.config.model_facts import read_config
from heteropd.plan.model import RolePlan

Config = Mapping[str, Any]
_LONG_NAMES: Mapping[str, str] = {"half": "float16", "float": "float32"}
ITEM_BYTES: Mapping[str, int] = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2, "fp8": 1}


def find_config(*sources: str) -> Config | None:
    """The first ``config.json`` found: a folder on this machine, or a hub id in this user's hub cache."""
    found = filter(None, (read_config(source, Path.cwd()) for source in sources))
    return next((config for _, config in found), None)


def layers_of(config: Config) -> int | None:
    """The number of layers that keep KV, None where the configuration does not say."""
    return _number(_text(config), "num_hidden_layers")


def dtype_of(config: Config) -> str | None:
    """The dtype that ``auto`` stands for."""
    text = _text(config)
    found = text.get("dtype") or text.get("torch_dtype") or config.get("dtype") or config.get("torch_dtype")
    return str(found) if found else None


def bytes_per_token(config: Config, dtype: str) -> int | None:
    """K and V of all layers and KV heads; None for a configuration or dtype this does not know.

    Multi-head latent attention keeps one compressed row a layer instead of K and V per head.
    """
    text = _text(config)
    layers, item = layers_of(config), ITEM_BYTES.get(dtype)
    if layers is None or item is None:
        return None
    rank, rope = _number(text, "kv_lora_rank"), _number(text, "qk_rope_head_dim")
    if rank is not None and rope is not None:
        return layers * (rank + rope) * item
    heads = _number(text, "num_attention_heads")
    kv_heads = _number(text, "num_key_value_heads") or heads
    size = _number(text, "head_dim")
    hidden = _number(text, "hidden_size")
    if size is None and heads and hidden:
        size = hidden // heads
    if kv_heads is None or size is None:
        return None
    return 2 * layers * kv_heads * size * item


def kv_dtype(argv: Sequence[str]) -> str | None:
    """What ``--kv-cache-dtype`` in an engine's arguments says; None when absent or ``auto``."""
    chosen = _argument(argv, "--kv-cache-dtype")
    return chosen.split("_")[0] if chosen else None


def planned_dtype(role: RolePlan, config: Config | None) -> str | None:
    """What an engine is to compute in: as its arguments say, else as the model says."""
    chosen = _argument(role.argv, "--dtype") or (role.dtype if role.dtype != "auto" else None)
    dtype = chosen or (dtype_of(config) if config else None)
    return _LONG_NAMES.get(dtype, dtype) if dtype else None


def _argument(argv: Sequence[str], option: str) -> str | None:
    """The last value that an option is given, in any spelling that a plan takes (an ambiguous beginning is
    refused there); None when absent or ``auto``."""
    value = None
    for argument, following in zip(argv, [*argv[1:], "auto"], strict=False):
        name, equals, joined = argument.partition("=")
        if len(name) > len("--d") and option.startswith(name.replace("_", "-")):
            value = joined if equals else following
    return None if value == "auto" else value


def _text(config: Config) -> Config:
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def _number(config: Config, key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
