"""Rules about the NIXL connector's configuration and what goes with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rule_sides import (
    ALIKE,
    REL,
    THROUGH_HOST,
    Given,
    Sides,
    alike,
    args,
    each_side,
    judge,
    kv,
    pins,
    role,
    standin,
)

from heteropd.errors import BadInput
from heteropd.plan.rules import connector

GUARD = ["--middleware", "heteropd_engine.lease_guard.LeaseGuard"]


def recovery(name: str, policy: str) -> dict[str, Any]:
    device, permute = {"prefill": ("cuda", []), "decode": ("hpu", ['"enable_permute_local_kv": true'])}[name]
    return role(name, args=kv(device, f'"kv_load_failure_policy": "{policy}"', *permute))


SIDES: Sides = {
    "P70-kv-digest": [
        (Given("case1 digest=enforce"), Given("case1 digest=off")),
        (Given("case2 digest=observe pins=v0.26"), standin("case2 digest=observe")),
    ],
    "P19-handshake-compat": [
        (Given("case2", role("decode", args=kv("cuda", compat="true"))), Given("case2")),
        (
            Given("case2", role("decode", args=kv("cuda", compat='"false"'))),
            Given("case2", role("decode", args=kv("cuda"))),
        ),
    ],
    "P24-prefix-caching": [
        (Given("case2", role("prefill", args=["--enable-prefix-caching"])), Given("case2")),
        (
            Given("case2", role("prefill", args=["--enable-prefix-caching"])),
            Given("case2", role("decode", args=["--enable-prefix-caching"])),
        ),
        (
            Given("case2", role("prefill", args=["--enable-prefix-caching"])),
            Given("case1", role("prefill", args=["--enable-prefix-caching"])),
        ),
    ],
    "P25-hetero-switch": [
        (Given(f"case1 pins={REL}", role("decode", env={"VLLM_HPU_HETERO_KV_LAYOUT": value})), kept)
        for value in ("1", "True", "false")
        for kept in [Given(f"case1 pins={REL}")]
    ],
    "P26-joint-kv": [
        (
            Given(f"case2 pins={REL}", role("prefill", env={"VLLM_HPU_NIXL_JOINT_KV": "false"})),
            Given(f"case2 pins={REL}"),
        ),
        (
            Given(f"case2 pins={REL}", role("prefill", env={"VLLM_HPU_NIXL_JOINT_KV": "1"})),
            Given(f"case1 pins={REL}", role("decode", env={"VLLM_HPU_NIXL_JOINT_KV": "1"})),
        ),
    ],
    "P28-device-to-device": [
        (Given("case1", role("decode", env={"VLLM_NIXL_DEVICE_TO_DEVICE": "0"})), Given("case1")),
        (
            Given("case2", role("prefill", env={"VLLM_NIXL_DEVICE_TO_DEVICE": "yes"})),
            Given("case2", role("prefill", env={"VLLM_NIXL_DEVICE_TO_DEVICE": "true"})),
        ),
        (
            Given("case2", role("prefill", env={"VLLM_NIXL_DEVICE_TO_DEVICE": ""})),
            Given("case2", role("decode", env={"VLLM_NIXL_DEVICE_TO_DEVICE": "0"})),  # CUDA does not read it
        ),
        (
            Given(
                f"case1 {THROUGH_HOST} {ALIKE}", role("decode", env={"VLLM_NIXL_DEVICE_TO_DEVICE": "true"})
            ),
            Given(
                f"case1 {THROUGH_HOST} {ALIKE}", role("prefill", env={"VLLM_NIXL_DEVICE_TO_DEVICE": "true"})
            ),
        ),
    ],
    "P44-kv-transfer-config": [
        (Given("case1", role("decode", args=["--kv-transfer-config", "{not json"])), Given("case1")),
        (Given("case2", role("decode", args=kv("cpu"))), Given("case2", role("decode", args=kv("cuda")))),
        (
            Given("case2 decode_block_size=32", role("decode", args=kv("cuda"))),  # agreed is 32, it says 16
            Given("case2 decode_block_size=16", role("decode", args=kv("cuda"))),
        ),
        (
            Given(f"case1 {THROUGH_HOST} {ALIKE}", role("decode", args=kv("hpu"))),
            Given(f"case1 {THROUGH_HOST} {ALIKE}", role("decode", args=kv("cpu"))),
        ),
    ],
    "P73-lease-guard": [
        (Given("case1", role("prefill", args=GUARD)), Given("case1", alike(*GUARD))),
    ],
    "P63-recompute": [
        *(
            (Given("case1", recovery(role_name, "recompute")), Given("case1", recovery(role_name, "fail")))
            for role_name in ("prefill", "decode")
        ),
    ],
}


@each_side(connector, SIDES)
def test_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    judge(rule, broken, kept, tmp_path)


@pytest.mark.parametrize(
    "spelling", ["--enable_prefix_caching", "--enable-prefix", "--enable-prefix-caching"]
)
def test_no_spelling_evades_a_rule(spelling: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="P24-prefix-caching"):
        Given(f"case2 pins={REL}", args("prefill", spelling)).plan(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        "--kv-transfer-config.kv_role kv_consumer",
        "--kv_transfer_config.kv_buffer_device=cpu",
        "--kv-transfer-config {}",
        "--kv-transf {}",
    ],
)
def test_a_part_of_the_connectors_configuration_replaces_all_of_it(words: str, tmp_path: Path) -> None:
    """As vLLM does: what was given before counts no more."""
    with pytest.raises(BadInput, match=r"P44-kv-transfer-config|P19-handshake-compat"):
        Given("case1", args("prefill", words)).plan(tmp_path)


def test_the_agreed_block_size_may_be_text(tmp_path: Path) -> None:
    config = kv("hpu", '"enable_permute_local_kv": "True"')
    config[1] = config[1].replace('"agreed_block_size": 16', '"agreed_block_size": "16"')
    words = {"roles": {"prefill": {"args": [*config, "--no-enable-prefix-caching"]}}}
    assert Given("case2", words).plan(tmp_path).agreed_block_size == 16


@pytest.mark.parametrize(
    ("vllm", "roles"),
    [
        ("0.13.0.dev", ["kv_both", "kv_both"]),
        ("0.30.0", ["kv_both", "kv_both"]),
        ("0.32.0", ["kv_producer", "kv_consumer"]),
        ("1.0.0rc1", ["kv_producer", "kv_consumer"]),
    ],
)
def test_kv_role_is_what_the_release_wants(vllm: str, roles: list[str], tmp_path: Path) -> None:
    plan = Given(f"case1 pins={REL}", edit=pins(REL, vllm=vllm)).plan(tmp_path)
    assert [json.loads(engine.argv[-1])["kv_role"] for engine in plan.engines] == roles
