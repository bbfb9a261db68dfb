"""Arguments are read as vLLM's FlexibleArgumentParser reads them (vllm/utils/argparse_utils.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heteropd.config.env import load
from heteropd.plan.arguments import EngineArguments, engine_words, parse

ROOT = Path(__file__).parents[3]
OPTIONS = load(ROOT).vllm_options


def read(words: str) -> EngineArguments:
    return parse(words.split(), OPTIONS)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("--max-model-len 8192", {"--max-model-len": "8192"}),
        ("--max_model_len=8192", {"--max-model-len": "8192"}),
        ("--max-model-l 8192", {"--max-model-len": "8192"}),
        ("--max-model-len 1 --max_model_len 2", {"--max-model-len": "2"}),
        ("-tp 2", {"--tensor-parallel-size": "2"}),
        ("-tp=2 -dp=4", {"--tensor-parallel-size": "2", "--data-parallel-size": "4"}),
        ("--enforce-eager", {"--enforce-eager": True}),
        ("--no_enforce_eager", {"--enforce-eager": False}),
        ("--enforce-eager --no-enforce-e", {"--enforce-eager": False}),
        ("-ep", {"--enable-expert-parallel": True}),
        ("--disable-log-stats", {"--disable-log-stats": True}),
        ("--served-model-name a b --seed 1", {"--served-model-name": ("a", "b"), "--seed": "1"}),
        ("--middleware a.b --middleware c.d", {"--middleware": ("a.b", "c.d")}),
        ("-O3", {"--optimization-level": "3"}),
        ("-O=2", {"--optimization-level": "2"}),
        ("-O 1", {"--optimization-level": "1"}),
        ("--max-model-len -1", {"--max-model-len": "-1"}),
        ("--chat-template /my_templates/a_b.jinja", {"--chat-template": "/my_templates/a_b.jinja"}),
        ("", {}),
    ],
)
def test_spellings(words: str, given: dict[str, Any]) -> None:
    assert read(words) == EngineArguments(given)


@pytest.mark.parametrize(
    ("words", "option", "value"),
    [
        ("--kv_transfer_config.kv_role kv_both", "--kv-transfer-config", {"kv_role": "kv_both"}),
        ("--kv-transfer-config.a.b_c=1 --kv-transfer-config.a.d x", "--kv-transfer-config",
         {"a": {"b_c": 1, "d": "x"}}),
        ("-cc.mode 3", "--compilation-config", {"mode": 3}),
        ("--compilation-config.sizes+ 1,2 --compilation-config.sizes+=3", "--compilation-config",
         {"sizes": ["1", "2", "3"]}),
        ('--kv-transfer-config {"kv_role":"x"} --kv-transfer-config.y 1', "--kv-transfer-config", {"y": 1}),
        ("--hf-overrides.rope_theta=1e6", "--hf-overrides", {"rope_theta": 1e6}),
    ],
)  # fmt: skip
def test_dotted_keys_are_parts_of_json_that_stand_last(words: str, option: str, value: Any) -> None:
    arguments = read(words)
    assert arguments.json(option) == value
    assert json.loads(arguments.text(option) or "") == value


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--enable-p", "ambiguous option"),
        ("--max-model-len", "expected one argument"),
        ("--enforce-eager=true", "ignored explicit argument"),
        ("--kv-transfer-config.x", "expected one argument"),
    ],
)
def test_what_vllm_would_refuse_is_a_problem(words: str, problem: str) -> None:
    arguments = read(words)
    assert problem in (arguments.problem or "")
    assert not arguments.given


def test_what_the_list_lacks_is_kept_apart() -> None:
    arguments = read("--swap-space 4 --seed 1 stray")
    assert arguments.given == {"--seed": "1"}
    assert arguments.unknown == ("--swap-space", "4", "stray")


def test_ranks_are_the_product_of_what_multiplies_devices() -> None:
    assert read("-tp 2 -dp 4 --pipeline_parallel_size 2").ranks == 16
    assert read("-tp two").ranks == 1
    assert read("").tensor_parallel == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["vllm", "serve", "model", "--seed", "1"],
        ["python", "-m", "vllm.entrypoints.openai.api_server", "--seed", "1"],
        ["engine", "--seed", "1"],
    ],
)
def test_an_engines_words_begin_after_what_starts_it(argv: list[str]) -> None:
    assert engine_words(argv) == ["--seed", "1"]
