"""Rules about options of engines, containers and the router."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rule_sides import Given, Sides, alike, args, cuda, each_side, judge, role

from heteropd.errors import BadInput
from heteropd.plan.rules import options


def router(words: str) -> dict[str, Any]:
    return role("router", args=words.split())


SIDES: Sides = {
    "P43-shadowed": [
        (Given("case1", role("prefill", args=["--block-size", "32"])), Given("case1 prefill_block_size=32")),
        (Given("case1", role("decode", args=["--port=9000"])), Given("case1 decode_port=9000")),
        (
            Given("case1", role("decode", env={"VLLM_KV_CACHE_LAYOUT": "HND"})),
            Given("case1 decode_kv_layout=HND"),
        ),
        *(
            (
                Given("case1", role("prefill", args=[word, "2"])),
                Given("case1", role("prefill", tensor_parallel_size=1)),
            )
            for word in ("-tp", "--tensor-parallel-size")
        ),
        *(
            (
                Given("case1", {**cuda(**field), **role("prefill", env=env)}),
                Given("case1", {**cuda(**field), **role("decode", env=env)}),
            )
            for field, env in (
                ({"nics": ["mlx5_0:1"]}, {"UCX_NET_DEVICES": "mlx5_1:1"}),
                ({"devices": [0]}, {"CUDA_VISIBLE_DEVICES": "1"}),
            )
        ),
        *(
            (Given("case1", cuda(**{**field, "env": env})), Given("case1", cuda(**field)))
            for field, env in (
                ({"nics": ["mlx5_0:1"]}, {"UCX_NET_DEVICES": "mlx5_1:1"}),
                ({"devices": [0]}, {"CUDA_VISIBLE_DEVICES": "1"}),
                ({}, {"VLLM_KV_CACHE_LAYOUT": "NHD"}),
            )
        ),
        (
            Given("case1", cuda(engines=[{"env": {"VLLM_NIXL_SIDE_CHANNEL_PORT": "9"}}])),
            Given("case1", cuda(engines=[{"env": {"UCX_RNDV_THRESH": "0"}}])),
        ),
    ],
    "P51-arguments": [
        (Given("case2", args("prefill", "--config /etc/vllm.yaml")), Given("case2")),
        (Given("case2", args("prefill", "--conf=/etc/vllm.yaml")), Given("case2")),
        (Given("case1", args("decode", "--enable-p")), Given("case1", args("decode", "--enable-expert"))),
        (
            Given("case1", args("decode", "--max-model-len")),
            Given("case1", args("decode", "--max-model-len 9")),
        ),
        (Given("case1", args("decode", "8192")), Given("case1", args("decode", "--max-model-len=8192"))),
        (
            Given("case1", args("decode", "--enforce-eager=true")),
            Given("case1", args("decode", "--enforce_eager")),
        ),
    ],
    "P52-reach": [
        (Given("case1", args("prefill", "--ssl-certfile /x")), Given("case1")),
        (Given("case1", args("prefill", "--ssl_keyf=/x")), Given("case1")),
        (Given("case1", args("decode", "--uds /tmp/vllm.sock")), Given("case1")),
        (Given("case1", args("decode", "--root-path /llm")), Given("case1")),
        (Given("case1", args("decode", "--headless")), Given("case1")),
        (Given("case1", args("decode", "-dpl 2")), Given("case1", args("decode", "-dp 2"))),
    ],
    "P57-unknown-option": [
        (
            Given("case1 runtime=docker", {"standin": True, **args("decode", "--max-model-length 9")}),
            Given("case1 runtime=docker", {"standin": True, **alike("--seed 9")}),
        ),
    ],
    "P58-perhaps-unknown": [
        (Given("case1", args("decode", "--swap-space 4")), Given("case1", args("decode", "--seed 4"))),
        (
            Given("case1", args("prefill", "--task=generate")),
            Given("case1", args("prefill", "--runner=generate")),
        ),
        (Given("case1", args("decode", "--max-model-length 9")), Given("case1", alike("--max-model-len 9"))),
    ],
    "P66-container": [
        (Given("case1", cuda(container={"gpus": "all"})), Given("case1", cuda(container={"memory": "64g"}))),
        (
            Given("case1", cuda(container=["--net=bridge"])),
            Given("case1", cuda(container=["--net=host", "-v", "/a:/b"])),
        ),
        (Given("case1", cuda(container=["--gpus=2"])), Given("case1", cuda(container={"cpuset": "0-7"}))),
        (
            Given("case1", cuda(container=["--env=UCX_TLS=tcp"])),
            Given("case1", cuda(env={"UCX_IB_GID_INDEX": "3"})),
        ),
        (Given("case1", cuda(container={"env": {"A": "b"}})), Given("case1", cuda(container={}))),
    ],
    "P67-router": [
        *(
            (Given("case1", router(words)), Given("case1", router(ok)))
            for words, ok in (
                ("--port 9", "--log-level debug"),
                ("--prefill=http://other:1", "--request-timeout-secs 600"),
                ("--health_check_interval_secs 60", "--health-failure-threshold 3"),
                ("--prometheus-h ::", "--policy-x"),
            )
        ),
    ],
}


@each_side(options, SIDES)
def test_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    judge(rule, broken, kept, tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        "--block_size 64", "--block-si=64", "--tensor_parallel_size 8", "-tp=8", "--tensor-p 8",
        "--served_model_name x", "--port=9000", "--model x",
    ],
)  # fmt: skip
def test_no_spelling_of_what_is_decided_elsewhere_is_taken(words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"P43-shadowed|P51-arguments"):
        Given("case2", args("prefill", words)).plan(tmp_path)
