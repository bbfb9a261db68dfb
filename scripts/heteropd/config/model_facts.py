"""What a model's config.json says of its KV cache, where the file is on this machine."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from heteropd.config.types import Data

Family = Literal["uniform", "windowed", "mla", "hybrid"]

# Layers that keep a state instead of KV blocks, by what configurations call them.
_STATES = ("mamba", "linear", "recurrent", "conv", "gated_delta", "kda", "ssm")
_STATE_KEYS = (
    "mamba_d_state",
    "mamba_num_heads",
    "ssm_state_size",
    "hybrid_override_pattern",
    "linear_num_key_heads",
    "linear_attn_config",
    "full_attention_interval",
    "attn_layer_period",
)
_LAYER_KEYS = ("layer_types", "layers_block_type", "block_types", "hybrid_layer_pattern")


class ModelFacts(Data):
    """``family``: how layers keep what they know. uniform: one kind of KV blocks; windowed: some layers
    forget; mla: compressed KV without heads; hybrid: some layers keep a state instead."""

    file: str
    family: Family


def find(model: str, root: Path, environ: Mapping[str, str] = os.environ) -> ModelFacts | None:
    """What is known of a model; None where no file says it."""
    found = read_config(model, root, environ)
    return ModelFacts(file=str(found[0]), family=_family(found[1])) if found else None


def read_config(
    model: str, root: Path, environ: Mapping[str, str] = os.environ
) -> tuple[Path, dict[str, Any]] | None:
    """The config.json of a folder, or of a model of the hub that this machine's cache holds."""
    for file in _files(model, root, environ):
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(config, dict):
            return file, config
    return None


def hub_entry(folder: str) -> str:
    """What makes a model's folder whole: itself, or the entry of a hub's cache that it is a snapshot of.

    A snapshot is links to files beside it."""
    parts = Path(folder).parts
    for at in range(len(parts) - 2):
        if parts[at].startswith("models--") and parts[at + 1] == "snapshots":
            return str(Path(*parts[: at + 1]))
    return folder


def _files(model: str, root: Path, environ: Mapping[str, str]) -> list[Path]:
    try:
        folder = root / Path(model).expanduser()
        if (folder / "config.json").is_file():
            return [folder / "config.json"]
        home = Path(environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
        hub = Path(environ.get("HF_HUB_CACHE") or home / "hub")
        return sorted(hub.glob(f"models--{model.replace('/', '--')}/snapshots/*/config.json"))
    except (OSError, RuntimeError, ValueError):  # a name that is no path, or no home folder
        return []


def _family(config: Mapping[str, Any]) -> Family:
    text = config.get("text_config")
    facts = {**config, **text} if isinstance(text, dict) else dict(config)
    kinds = [str(kind) for key in _LAYER_KEYS for kind in _listed(facts.get(key))]
    if any(facts.get(key) for key in _STATE_KEYS) or any(name in kind for kind in kinds for name in _STATES):
        return "hybrid"
    if facts.get("kv_lora_rank"):
        return "mla"
    return "windowed" if len(set(kinds)) > 1 or facts.get("sliding_window_pattern") else "uniform"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
