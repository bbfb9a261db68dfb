"""Other models, made of the stand-ins' own, to see how the noise of a mixed pair depends on the model.

    .nox/engine-cpu/bin/python -P tests/mixed/other_models.py FROM TO

FROM is the converted model's folder (`make model` names it); each of MODELS becomes a folder in TO, for
``model=``: another number of KV heads that computes the same; fewer layers; weights with noise; no training.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Weights = dict[str, torch.Tensor]
LEFT_OUT = range(12, 16)
NOISE = 0.03
_LAYER = re.compile(r"(?<=layers\.)\d+")


def nine_kv_heads(weights: Weights, config: dict[str, Any]) -> Weights:
    """Every query head gets a KV head of its own: the same arithmetic with three times the KV."""
    query_heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    config["num_key_value_heads"] = query_heads
    shape, shared = (kv_heads, config["head_dim"], -1), query_heads // kv_heads
    return {
        name: weight.view(shape).repeat_interleave(shared, 0).flatten(0, 1)
        if "k_proj" in name or "v_proj" in name
        else weight
        for name, weight in weights.items()
    }


def fewer_layers(weights: Weights, config: dict[str, Any]) -> Weights:
    """Without some in the middle."""
    kept = [layer for layer in range(config["num_hidden_layers"]) if layer not in LEFT_OUT]
    config["num_hidden_layers"] = len(kept)
    number = {str(layer): str(place) for place, layer in enumerate(kept)}
    layers = {name: match.group() for name in weights if (match := _LAYER.search(name))}
    return {
        _LAYER.sub(lambda match: number[match.group()], name): weight
        for name, weight in weights.items()
        if layers.get(name, "0") in number
    }


def noisy(weights: Weights, _config: dict[str, Any]) -> Weights:
    """Every weight a few per cent off."""
    return {name: weight * (1 + NOISE * torch.randn(weight.shape)) for name, weight in weights.items()}


def untrained(weights: Weights, _config: dict[str, Any]) -> Weights:
    """Random matrices as large as the trained ones are."""
    return {
        name: torch.randn(weight.shape) * weight.std() if weight.ndim > 1 else weight
        for name, weight in weights.items()
    }


MODELS: dict[str, Callable[[Weights, dict[str, Any]], Weights]] = {
    "nine-kv-heads": nine_kv_heads,
    "26-layers": fewer_layers,
    "noisy": noisy,
    "untrained": untrained,
}


def main() -> None:
    source, target = (Path(word) for word in sys.argv[1:])
    for name, made in MODELS.items():
        torch.manual_seed(17)
        shutil.copytree(source, target / name)
        (target / name / "heteropd-model.json").unlink()
        config = json.loads((source / "config.json").read_text())
        weights = made(load_file(source / "model.safetensors"), config)
        tensors = {key: weight.contiguous() for key, weight in weights.items()}
        save_file(tensors, target / name / "model.safetensors", metadata={"format": "pt"})
        (target / name / "config.json").write_text(json.dumps(config, indent=2))
        print(target / name)


if __name__ == "__main__":
    main()
