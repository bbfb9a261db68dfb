"""Rules about what both sides must have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rule_sides import EXAMPLE, REL, Given, Sides, alike, args, each_side, judge, kv, role

from heteropd.errors import BadInput
from heteropd.plan.rules import differences

EAGLE = ('--speculative-config {"method":"eagle3","model":"a/draft","num_speculative_tokens":2}',)


def images(prefill: str | None, decode: str | None) -> dict[str, Any]:
    """The example with images of the hosts' own (case 1: CUDA prefills)."""
    given = {"cuda-node": prefill, "gaudi-node": decode}
    return {
        "hosts": {
            name: {**host, **({"image": given[name]} if given.get(name) else {})}
            for name, host in EXAMPLE["hosts"].items()
        }
    }


def one_sided(side: str, *options: str) -> list[tuple[Given, Given]]:
    """Options of one side alone, and of both."""
    return [(Given("case1", args(side, words)), Given("case1", alike(words))) for words in options]


SIDES: Sides = {
    "P53-identical": [
        *one_sided(
            "prefill",
            "--kv-cache-dtype fp8",
            "--kv_cache_dtype=fp8",
            "--dty float16",
            "--dtype float16",
            "--revision abc",
            "--disable-hybrid-kv-cache-manager",
            "--no-disable-hybrid --dtype half",
            "--hf-overrides.rope_scaling.factor 2",
            "--tokenizer other/one",
            "-dcp 2",
        ),
        *(
            (
                Given("case1", role("prefill", args=kv("cuda", extra=extra))),
                Given("case1", role("prefill", args=kv("cuda", extra=same))),
            )
            for extra, same in (
                ('"enable_cross_layers_blocks": true', '"x": 1'),
                ('"backends": ["GDS"]', '"num_threads": 2'),
            )
        ),
        (
            Given("case1", args("decode", "--kv-cache-dtype fp8")),
            Given("case1", args("decode", "--kv-cache-dtype auto")),
        ),
        (
            Given("case2", args("decode", "--disable-sliding-window")),
            Given("case2", args("decode", "--disable-sliding-window --no-disable-sliding-window")),
        ),
    ],
    "P54-alike": [
        *one_sided(
            "decode",
            "--max-model-len 8192",
            "--enable-lora",
            "--lora-modules sql=/loras/sql",
            "--chat-template /t.jinja",
            "-q fp8",
            "--generation-config /g",
            "--runner pooling",
        ),
    ],
    "P59-speculative": [
        (Given("case1", args("decode", *EAGLE)), Given("case1", alike(*EAGLE))),
        (
            Given("case1", args("decode", "--spec-method mtp --spec-tokens 1")),
            Given("case1", args("decode", "--spec-method ngram --spec-tokens 4")),
        ),
        (
            Given(
                "case1", args("prefill", "--speculative-config.method eagle3 --speculative_config.model a/b")
            ),
            Given("case1", args("prefill", "--speculative-config.method suffix")),
        ),
        (
            Given("case1", alike("-sc.method mtp", decode="-sc.method eagle")),
            Given("case1", alike("-sc.method mtp", decode="-sc.method=mtp -sc.num_speculative_tokens=2")),
        ),
    ],
    "P60-images": [
        (
            Given("case1", images("reg.example/vllm:v0.24.0", "reg.example/gaudi:0.26.0-1")),
            Given("case1", images("reg.example/vllm:v0.26.1", "reg.example/gaudi:0.26.0-1")),
        ),
        (
            Given(f"case1 pins={REL}", images("vllm/vllm-openai:v0.24.0", None)),
            Given(f"case1 pins={REL}", images("vllm/vllm-openai:v0.26.0", None)),
        ),
        (
            Given(f"case1 pins={REL}", images(None, "vault.example/vllm-0.24.0:1")),
            Given(f"case1 pins={REL}", images(None, f"mine@sha256:{'0' * 64}")),
        ),
    ],
}


@each_side(differences, SIDES)
def test_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    judge(rule, broken, kept, tmp_path)


def test_engines_of_two_releases_are_named_with_their_connectors(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        Given("case1", images("vllm/vllm-openai:v0.33.0", "reg.example/gaudi:0.30.0")).plan(tmp_path)
    assert "the prefill runs vLLM 0.33 and the decode 0.30, whose NixlConnectors (15 and 11)" in str(
        refused.value
    )
