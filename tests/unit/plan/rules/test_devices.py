"""Rules about devices, ranks and engines of a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rule_sides import Given, Sides, alike, args, cuda, each_side, judge

from heteropd.plan.rules import devices

OWN = [{"devices": [0], "nics": ["mlx5_0:1"]}, {"devices": [1], "nics": ["mlx5_1:1"]}]


def ranks(prefill: int, decode: int) -> dict[str, Any]:
    sizes = {"prefill": prefill, "decode": decode}
    return {"roles": {name: {"tensor_parallel_size": size} for name, size in sizes.items()}}


def both(size: int, words: str) -> dict[str, Any]:
    fields = {"tensor_parallel_size": size, "args": words.split()}
    return {"roles": {"prefill": fields, "decode": {"tensor_parallel_size": size}}}


SIDES: Sides = {
    "P49-tensor-parallel": [
        (Given("case1", ranks(2, 1)), Given("case1", ranks(1, 2))),
        (Given("case1", ranks(2, 3)), Given("case1", ranks(2, 4))),
        (
            Given("case1 prefill_kv_layout=NHD prefill_block_size=128", ranks(1, 2)),
            Given("case1 prefill_kv_layout=NHD prefill_block_size=128", ranks(2, 2)),
        ),
    ],
    "P50-devices": [
        (Given("case1", cuda(2)), Given("case1", cuda(2, devices=[0, 1]))),
        (Given("case1", cuda(2, devices=[0, 1, 2])), Given("case1", cuda(2, devices=[0, 1, 2, 3]))),
        (Given("case1", cuda(1, 2, devices=[3])), Given("case1", cuda(1, 2, devices=[3, 4]))),
        (Given("case2", cuda(2, 2, devices=[0, 1])), Given("case2", cuda(2, 2, devices=[0, 1, 2, 3]))),
        (Given("case1", cuda(2)), Given("case1 runtime=docker", {**cuda(2), "standin": True})),
        (
            Given("case1", {**cuda(1, devices=[3]), **args("prefill", "--data-parallel-size 2")}),
            Given("case1", {**cuda(1, devices=[3, 4]), **args("prefill", "--data-parallel-size 2")}),
        ),
        (
            Given("case1", {**cuda(2, devices=[0, 1, 2, 3]), **args("prefill", "-dp 4")}),
            Given("case1", {**cuda(2, devices=list(range(8))), **args("prefill", "-dp 4")}),
        ),
        (
            Given("case1", cuda(2, engines=[{"devices": [0]}, {"devices": [0]}])),
            Given("case1", cuda(2, engines=OWN)),
        ),
        (
            Given("case1", {**cuda(2, engines=OWN), **both(2, "")}),
            Given("case1", {**cuda(2, engines=[{"devices": [0, 2]}, {"devices": [1, 3]}]), **both(2, "")}),
        ),
        (
            Given("case1", cuda(2, engines=[{"devices": [0]}, {"env": {"A": "b"}}])),
            Given("case1", cuda(2, devices=[0, 1], engines=[{"env": {"A": "a"}}, {"env": {"A": "b"}}])),
        ),
        (
            Given("case1", {**cuda(1, devices=[0, 1]), **both(2, "--data_parallel_size=2")}),
            Given("case1", {**cuda(1, devices=[0, 1, 2, 3]), **both(2, "--data_parallel_size=2")}),
        ),
    ],
    "P61-pipeline": [
        (Given("case1", args("prefill", "--pipeline-parallel-size 2")), Given("case1")),
        (Given("case1", args("decode", "-pp=2")), Given("case1", args("decode", "-pp 1"))),
        (Given("case1", alike("-pcp 2")), Given("case1", alike("--pipeline_parallel 1"))),
    ],
    "P62-stand-in-ranks": [
        (
            Given("case1 runtime=docker", {"standin": True, **ranks(2, 2)}),
            Given("case1 runtime=docker", {"standin": True}),
        ),
        (
            Given("case1 runtime=docker", {"standin": True, **args("decode", "-dp 2")}),
            Given("case1 runtime=docker", {"standin": True, **args("decode", "-dp 1")}),
        ),
    ],
    "P65-engines": [
        (
            Given("case1", cuda(2, devices=[0, 1], engines=[{"nics": ["mlx5_0:1"]}])),
            Given("case1", cuda(2, engines=OWN)),
        ),
        (
            Given("case1", cuda(3, devices=[0, 1, 2], engines=[{"env": {}}] * 2)),
            Given("case1", cuda(1, engines=OWN[:1])),
        ),
        (Given("case2", cuda(1, engines=OWN)), Given("case2", cuda(1, devices=[0]))),
    ],
}


@each_side(devices, SIDES)
def test_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    judge(rule, broken, kept, tmp_path)
