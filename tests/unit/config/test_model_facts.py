"""What a model's config.json says of its KV cache, and where the file may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heteropd.config.model_facts import find, hub_entry


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({}, "uniform"),
        ({"model_type": "llama", "num_hidden_layers": 30}, "uniform"),
        ({"layer_types": ["full_attention"] * 4}, "uniform"),
        ({"sliding_window": 4096}, "uniform"),  # all layers alike
        ({"layer_types": ["sliding_attention", "full_attention"]}, "windowed"),
        ({"text_config": {"sliding_window_pattern": 6}}, "windowed"),
        ({"kv_lora_rank": 512, "q_lora_rank": None}, "mla"),
        ({"kv_lora_rank": None}, "uniform"),
        ({"text_config": {"layer_types": ["linear_attention", "full_attention"]}}, "hybrid"),
        ({"hybrid_override_pattern": "M-M*"}, "hybrid"),
        ({"kv_lora_rank": 512, "linear_attn_config": {"kda_layers": [1]}}, "hybrid"),
        ({"layer_types": ["conv", "full_attention"]}, "hybrid"),
    ],
)
def test_families(config: dict[str, Any], family: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    facts = find(str(tmp_path), tmp_path, {})
    assert facts is not None
    assert facts.family == family


def test_a_model_of_the_hub_is_looked_for_in_its_cache(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub/models--org--name/snapshots/abc"
    snapshot.mkdir(parents=True)
    assert find("org/name", tmp_path, {"HF_HOME": str(tmp_path)}) is None
    (snapshot / "config.json").write_text('{"kv_lora_rank": 1}')
    facts = find("org/name", tmp_path, {"HF_HOME": str(tmp_path)})
    assert facts is not None
    assert (facts.family, facts.file) == ("mla", str(snapshot / "config.json"))
    moved = {"HF_HOME": "/nowhere", "HF_HUB_CACHE": str(tmp_path / "hub")}
    assert find("org/name", tmp_path, moved) == facts


@pytest.mark.parametrize("text", ["", "[]", "{", "\0"])
def test_a_file_that_says_nothing_is_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert find(str(tmp_path), tmp_path, {}) is None


@pytest.mark.parametrize("model", ["~nobody-of-this-name/x", "a\0b", "x" * 300, "package:llm"])
def test_a_name_that_cannot_be_a_folder_is_none(model: str, tmp_path: Path) -> None:
    assert find(model, tmp_path, {"HF_HOME": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("folder", "whole"),
    [
        ("/mnt/hub/models--a--b/snapshots/abc", "/mnt/hub/models--a--b"),
        ("/mnt/hub/models--a--b/snapshots/abc/", "/mnt/hub/models--a--b"),
        ("/mnt/hub/models--a--b", "/mnt/hub/models--a--b"),
        ("/models/snapshots/abc", "/models/snapshots/abc"),
    ],
)
def test_a_snapshot_is_whole_with_its_entry(folder: str, whole: str) -> None:
    assert hub_entry(folder) == whole
