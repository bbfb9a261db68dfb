"""Rules about block sizes, layouts, model families."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rule_sides import ALIKE, NEWEST, THROUGH_HOST, Given, Sides, alike, each_side, judge, kv, role, standin

from heteropd.errors import BadInput
from heteropd.plan.rules import blocks

EQUAL = "decode_kv_layout=HND decode_block_size=16"
WINDOWS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 512}


SIDES: Sides = {
    "P21-block-order": [
        (standin("case1 prefill_block_size=256"), standin("case1 prefill_block_size=128")),
        (standin("case1 prefill_block_size=48"), standin("case1 prefill_block_size=64")),
        (standin("case1 prefill_block_size=256"), standin("case2 prefill_block_size=256")),
        (Given("case1 prefill_block_size=256"), Given("case1 prefill_block_size=256 decode_block_size=256")),
    ],
    "P22-layout": [
        (
            standin("case1 prefill_kv_layout=NHD decode_kv_layout=HND"),
            standin("case1 prefill_kv_layout=NHD decode_kv_layout=NHD"),
        ),
        (standin("case2 decode_kv_layout=NHD"), standin("case2")),
        (
            Given("case1", role("decode", args=kv("hpu", '"enable_permute_local_kv": "False"'))),
            Given("case1", role("decode", args=kv("hpu", '"enable_permute_local_kv": true'))),
        ),
    ],
    "P23-block-and-layout": [
        (Given("case1 variant=base"), Given("case1 variant=decode-post-process")),
        (Given("case1 variant=base"), Given("case1 variant=base decode_block_size=16")),
        (Given("case1 variant=base"), Given("case1 variant=base decode_kv_layout=HND")),
        (Given("case1 prefill_kv_layout=NHD"), Given("case1 prefill_kv_layout=NHD prefill_block_size=128")),
        (Given(f"case1 {THROUGH_HOST} prefill_kv_layout=NHD"), Given(f"case1 {THROUGH_HOST} {ALIKE}")),
        (Given(f"case1 {THROUGH_HOST} prefill_block_size=128"), Given(f"case1 {THROUGH_HOST} {ALIKE}")),
    ],
    "P41-block-multiple": [
        (standin("case1 prefill_block_size=8"), standin("case1 prefill_block_size=16")),
        (standin("case2 decode_block_size=24"), standin("case2 decode_block_size=32")),
    ],
    "P42-receives": [
        (Given("case2 decode_block_size=96"), Given("case2 decode_block_size=64")),
        (Given("case2 decode_block_size=96"), standin("case2 decode_block_size=96")),
    ],
    "P45-converts": [
        (Given("case2 variant=base"), Given("case2 variant=prefill-process")),
        (Given(f"case2 {THROUGH_HOST}"), Given(f"case2 pins={NEWEST}")),
        (Given("case2 variant=decode-post-process"), Given("case2")),
        (
            Given("case2 variant=base"),
            Given("case2 variant=base prefill_kv_layout=HND prefill_block_size=16"),
        ),
    ],
    "P46-stand-in-receives": [(standin("case2 decode_block_size=96"), standin("case2"))],
    "P48-decode-prefix-cache": [
        (Given("case1"), Given("case1", role("decode", args=["--no-enable-prefix-caching"]))),
        (Given("case1"), standin("case1")),
        (Given("case1"), Given("case2")),  # there the prefill converts: equal blocks arrive
    ],
    "P68-hybrid-model": [
        *(
            (
                Given("case1", None, config=config),
                Given("case1 decode_kv_layout=HND decode_block_size=16", None, config=config),
            )
            for config in (
                {"model_type": "nemotron_h", "hybrid_override_pattern": "M-M*"},
                {"text_config": {"layer_types": ["linear_attention", "full_attention"]}},
                {"layers_block_type": ["mamba", "attention"]},
            )
        ),
        (Given("case2", None, config={"mamba_d_state": 128}), Given("case2", None, config={"num_layers": 3})),
        (
            Given("case2", config={"linear_num_key_heads": 16}),
            Given("case2", config={"layer_types": ["full_attention"] * 4}),
        ),
    ],
    "P69-model-family": [
        (
            Given("case1", config={"kv_lora_rank": 512}),
            Given(f"case1 {EQUAL}", config={"kv_lora_rank": 512}),
        ),
        (
            Given("case1", config=WINDOWS),
            Given("case1", alike("--disable-hybrid-kv-cache-manager"), config=WINDOWS),
        ),
        (Given("case1", config=WINDOWS), Given("case1", config={"layer_types": ["full_attention"] * 2})),
    ],
}


@each_side(blocks, SIDES)
def test_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    judge(rule, broken, kept, tmp_path)


def test_without_gaudi_gdr_kv_goes_through_the_hosts_memory(tmp_path: Path) -> None:
    plan = Given(f"case1 pins={NEWEST} {ALIKE}").plan(tmp_path)
    assert plan.variant == "base", "auto takes what the published packages can do, where that is enough"
    for engine in plan.engines:
        config = json.loads(engine.argv[-1])
        assert (config["kv_buffer_device"], "enable_permute_local_kv" in config) == ("cpu", False)
    with pytest.raises(BadInput, match="through the hosts' memory, where nothing is converted; use variant="):
        Given(f"case1 {THROUGH_HOST}").plan(tmp_path)
