"""Rules about UCX_TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rule_sides import Given, Sides, each_side, judge, role

from heteropd.plan.rules import transports


def mixed(**additions: Any) -> Given:
    return Given("case1 standin=gaudi", role("decode", **additions))


SIDES: Sides = {
    "P07-ucx-tls-device": [
        (Given("case1", role("prefill", env={"UCX_TLS": "ib,rc"})), Given("case1")),
        (
            Given("case2", role("prefill", env={"UCX_TLS": "ib,rc,cuda_copy"})),
            Given("case2", role("prefill", env={"UCX_TLS": "rc,gaudi_gdr"})),
        ),
        (
            Given("case1", role("prefill", env={"UCX_TLS": "rc, cuda_copy"})),
            Given("case1", role("prefill", env={"UCX_TLS": "rc,cuda"})),
        ),
        (
            Given("case1", role("decode", env={"UCX_TLS": "^tcp,gaudi"})),
            Given("case1", role("decode", env={"UCX_TLS": "\\rc_verbs,gaudi"})),
        ),
        (Given("case1", role("prefill", env={"UCX_TLS": ""})), Given("case1")),
    ],
    "P08-ucx-tls-tcp": [
        (
            Given("case1", role("decode", env={"UCX_TLS": "ib,rc,gaudi_gdr,tcp"})),
            Given("case1", role("decode", env={"UCX_TLS": "ib,rc,gaudi_gdr,self"})),
        ),
        (Given("case2", role("decode", env={"UCX_TLS": "all,cuda_copy"})), Given("case2")),
        (
            Given("case1", role("decode", env={"UCX_TLS": "all"})),
            Given("case1", role("decode", env={"UCX_TLS": "^tcp"})),
        ),
        (
            Given("case1", role("decode", env={"UCX_TLS": "^sm"})),
            Given("case1", role("decode", env={"UCX_TLS": "^tcp,sm"})),
        ),
    ],
    "P39-ucx-tls-common": [
        (
            Given("case1", role("prefill", env={"UCX_TLS": "rc_mlx5,cuda_copy"})),
            Given("case1", role("prefill", env={"UCX_TLS": "rc_verbs,cuda_copy"})),
        ),
    ],
    "P72-others-memory": [
        (mixed(env={"UCX_TLS": "ib,rc"}), mixed(env={"UCX_TLS": "ib,rc,cuda"})),
        (mixed(env={"UCX_MODULES": "^cuda,gda"}), mixed(env={"UCX_MODULES": "^gda"})),
    ],
}


@each_side(transports, SIDES)
def test_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    judge(rule, broken, kept, tmp_path)
