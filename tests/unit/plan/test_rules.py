"""Every rule, from both sides: a plan that breaks it, and the nearest plan that keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from heteropd.config.env import Env, load
from heteropd.config.machine import Machine
from heteropd.console.sections import within
from heteropd.errors import BadInput
from heteropd.plan import page, render
from heteropd.plan.model import Plan
from heteropd.plan.rules import CHECKS
from plan_words import resolve

ROOT = Path(__file__).parents[3]
ENV = load(ROOT)
EXAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "env/hosts/example.yaml").read_text())

Edit = Callable[[Env], Env]


def pins(name: str, **update: Any) -> Edit:
    """The environment with one pin set changed."""

    def edit(env: Env) -> Env:
        changed = {**env.accelerator_pins, name: env.accelerator_pins[name].model_copy(update=update)}
        return env.model_copy(update={"accelerator_pins": changed})

    return edit


def nixl(name: str, platform: str, version: str) -> Edit:
    old = ENV.accelerator_pins[name].nixl
    entry = old[platform].model_copy(update={"version": version})  # type: ignore[index]
    return pins(name, nixl={**old, platform: entry})


@dataclass(frozen=True)
class Given:
    """A request on the example hosts, or on stand-ins: words, changes of the hosts file, of the data."""

    words: str
    hosts: dict[str, Any] | None = field(default_factory=dict)
    edit: Edit | None = None
    config: dict[str, Any] | None = None

    def plan(self, tmp_path: Path) -> Plan:
        words = self.words.split()
        if self.config is not None:
            (tmp_path / "model").mkdir(exist_ok=True)
            (tmp_path / "model" / "config.json").write_text(json.dumps(self.config))
            words.append(f"model={tmp_path}/model")
        if self.hosts is not None:
            file = tmp_path / "hosts.yaml"
            file.write_text(yaml.safe_dump({**EXAMPLE, **self.hosts}))
            words.append(f"hosts={file}")
        env = self.edit(ENV) if self.edit else ENV
        return render(resolve(words, env, ROOT), env, Machine(cores=[0, 1]))


def standin(words: str, edit: Edit | None = None) -> Given:
    return Given(words, None, edit)


def role(name: str, **additions: Any) -> dict[str, Any]:
    return {"roles": {name: additions}}


def one_host(**roles: Any) -> dict[str, Any]:
    return {
        "hosts": {"both": {"address": "192.0.2.10", "ssh": "both"}},
        "platforms": {"cuda": "both", "gaudi": "both"},
        "router": "both",
        "roles": roles,
    }


def engines_python(path: str) -> dict[str, Any]:
    return {"hosts": {name: {**host, "python": path} for name, host in EXAMPLE["hosts"].items()}}


def address(cuda: str) -> dict[str, Any]:
    return {"hosts": {**EXAMPLE["hosts"], "cuda-node": {"address": cuda, "ssh": "cuda-node"}}}


def cuda(many: int = 1, ranks: int = 1, **host: Any) -> dict[str, Any]:
    """The example with ``many`` engines on the CUDA node, of ``ranks`` as all others are."""
    hosts = {**EXAMPLE["hosts"], "cuda-node": {**EXAMPLE["hosts"]["cuda-node"], **host}}
    roles = {name: {"tensor_parallel_size": ranks} for name in ("prefill", "decode")}
    return {
        "hosts": hosts,
        "platforms": {**EXAMPLE["platforms"], "cuda": ["cuda-node"] * many},
        "roles": roles,
    }


def ranks(prefill: int, decode: int) -> dict[str, Any]:
    sizes = {"prefill": prefill, "decode": decode}
    return {"roles": {name: {"tensor_parallel_size": size} for name, size in sizes.items()}}


def second_decode(**host: Any) -> dict[str, Any]:
    """The example with a second Gaudi node."""
    hosts = {**EXAMPLE["hosts"], "gaudi-2": {"address": "192.0.2.21", "ssh": "gaudi-2", **host}}
    return {"hosts": hosts, "platforms": {"cuda": "cuda-node", "gaudi": ["gaudi-node", "gaudi-2"]}}


def router_at(address: str, ssh: str | None = "root@proxy") -> dict[str, Any]:
    return {"hosts": {**EXAMPLE["hosts"], "proxy-node": {"address": address, "ssh": ssh}}}


def managed(address: str) -> dict[str, Any]:
    cuda_node = {**EXAMPLE["hosts"]["cuda-node"], "management": address}
    return {"hosts": {**EXAMPLE["hosts"], "cuda-node": cuda_node}}


def kv(device: str, *more: str, compat: str = "false", extra: str = '"y": 1') -> list[str]:
    inner = f'"enforce_handshake_compat": {compat}, "agreed_block_size": 16, {extra}'
    fields = ", ".join(
        [
            '"kv_connector": "NixlConnector", "kv_role": "kv_both"',
            f'"kv_buffer_device": "{device}"',
            *more,
            f'"kv_connector_extra_config": {{{inner}}}',
        ]
    )
    return ["--kv-transfer-config", "{" + fields + "}"]


def args(name: str, *words: str) -> dict[str, Any]:
    """The example with arguments for one role."""
    return role(name, args=" ".join(words).split())


def router(words: str) -> dict[str, Any]:
    return role("router", args=words.split())


def alike(*words: str, decode: str | None = None) -> dict[str, Any]:
    """The example with the same arguments for both roles, or others for the decode."""
    given = " ".join(words)
    return {"roles": {"prefill": {"args": given.split()}, "decode": {"args": (decode or given).split()}}}


def both(size: int, words: str) -> dict[str, Any]:
    fields = {"tensor_parallel_size": size, "args": words.split()}
    return {"roles": {"prefill": fields, "decode": {"tensor_parallel_size": size}}}


def images(prefill: str | None, decode: str | None) -> dict[str, Any]:
    """The example with images of the hosts' own (case 1: CUDA prefills)."""
    given = {"cuda-node": prefill, "gaudi-node": decode}
    return {
        "hosts": {
            name: {**host, **({"image": given[name]} if given.get(name) else {})}
            for name, host in EXAMPLE["hosts"].items()
        }
    }


def recovery(name: str, policy: str) -> dict[str, Any]:
    device, permute = {"prefill": ("cuda", []), "decode": ("hpu", ['"enable_permute_local_kv": true'])}[name]
    return role(name, args=kv(device, f'"kv_load_failure_policy": "{policy}"', *permute))


def mixed(**additions: Any) -> Given:
    return Given("case1 standin=gaudi", role("decode", **additions))


GUARD = ["--middleware", "heteropd_engine.lease_guard.LeaseGuard"]
EQUAL = "decode_kv_layout=HND decode_block_size=16"
WINDOWS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 512}
OWN = [{"devices": [0], "nics": ["mlx5_0:1"]}, {"devices": [1], "nics": ["mlx5_1:1"]}]
EAGLE = ('--speculative-config {"method":"eagle3","model":"a/draft","num_speculative_tokens":2}',)
DOC, REL, NEWEST = "doc-2025-12", "v0.26", "v0.30"
THROUGH_HOST = f"pins={NEWEST} variant=base"
ALIKE = "prefill_kv_layout=NHD prefill_block_size=128"
NO_TAG = {
    name: source.model_copy(update={"follows": None})
    for name, source in ENV.accelerator_pins[NEWEST].sources.items()
}
BASE_UNRESOLVED = {
    key: image.model_copy(update={"digest": "sha256:" + "0" * 64, "resolve": None})
    for key, image in ENV.accelerator_pins[DOC].images.items()
}
NO_PLUGIN = {k: v for k, v in ENV.accelerator_pins[DOC].sources.items() if k != "vllm-gaudi"}
OTHER_BASE = ENV.accelerator_pins[DOC].variants["base"]

# rule id: [(breaks it, keeps it), …]
SIDES: dict[str, list[tuple[Given, Given]]] = {
    "P02-nixl-pinned": [(Given("case1", edit=nixl(DOC, "gaudi", "unresolved")), Given("case1"))],
    "P03-nixl-versions": [
        (Given("case1", edit=nixl(DOC, "gaudi", "1.0.0")), Given("case1", edit=nixl(DOC, "gaudi", "0.7.9"))),
    ],
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
    "P16-side-channel-host": [
        (Given("case1", role("prefill", env={"VLLM_NIXL_SIDE_CHANNEL_HOST": "localhost"})), Given("case1")),
        (Given("case1", role("decode", env={"VLLM_NIXL_SIDE_CHANNEL_HOST": "0.0.0.0"})), Given("case1")),
        (Given("case1", address("127.0.0.1")), Given("case1", address("192.0.2.11"))),
        (Given("case1", address("::1")), Given("case1", address("2001:db8::1"))),
        (Given("case1", role("decode", env={"VLLM_NIXL_SIDE_CHANNEL_HOST": "192.0.2.99"})), Given("case1")),
        (Given("case1", second_decode(address="127.0.0.1")), Given("case1", second_decode())),
    ],
    "P18-port-clash": [
        (
            Given("case1 side_channel_port=65535", one_host()),
            Given("case1 side_channel_port=65534", one_host()),
        ),
        (standin("case1 port=8100"), standin("case1 port=8101")),
        (standin("case1 decode_port=5600"), standin("case1 decode_port=5602")),
        (standin("case1 prefill_port=29000"), standin("case1 prefill_port=29001")),
        (Given("case1 port=5601", one_host()), Given("case1 port=5602", one_host())),
        (Given("case1 prefill_port=8200", one_host()), Given("case1 prefill_port=8200")),
        (
            Given("case1", one_host(decode={"side_channel_port": 5600})),
            Given("case1", one_host(decode={"side_channel_port": 5700})),
        ),
        (standin("case1 decodes=2 port=8201"), standin("case1 decodes=2 port=8202")),
        (Given("case1", second_decode(address="192.0.2.20")), Given("case1", second_decode())),
        (  # several ranks may open as many side channels
            Given("case1 prefill_port=5603", cuda(ranks=4)),
            Given("case1 prefill_port=5604", cuda(ranks=4)),
        ),
    ],
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
    "P27-plugin-pair": [
        (Given("case1", edit=pins(DOC, sources=NO_PLUGIN)), Given("case1")),
        (Given(f"case1 pins={NEWEST}", edit=pins(NEWEST, sources=NO_TAG)), Given(f"case1 pins={NEWEST}")),
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
    "P37-base-digest": [(Given("case1"), Given(f"case1 pins={REL}"))],
    "P38-digest-confirmed": [(Given("case1"), Given("case1", edit=pins(DOC, images=BASE_UNRESOLVED)))],
    "P39-ucx-tls-common": [
        (
            Given("case1", role("prefill", env={"UCX_TLS": "rc_mlx5,cuda_copy"})),
            Given("case1", role("prefill", env={"UCX_TLS": "rc_verbs,cuda_copy"})),
        ),
    ],
    "P40-unresolved-source": [
        (Given("case2"), Given(f"case2 pins={REL}")),
        (Given(f"case1 pins={NEWEST}"), Given(f"case1 pins={REL}")),
    ],
    "P41-block-multiple": [
        (standin("case1 prefill_block_size=8"), standin("case1 prefill_block_size=16")),
        (standin("case2 decode_block_size=24"), standin("case2 decode_block_size=32")),
    ],
    "P42-receives": [
        (Given("case2 decode_block_size=96"), Given("case2 decode_block_size=64")),
        (Given("case2 decode_block_size=96"), standin("case2 decode_block_size=96")),
    ],
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
    "P47-remote-process": [
        (Given("case1 runtime=process"), Given("case1 runtime=docker")),
        (
            Given("case1 runtime=process"),
            Given("case1 runtime=process", engines_python("/opt/heteropd/bin/python")),
        ),
    ],
    "P48-decode-prefix-cache": [
        (Given("case1"), Given("case1", role("decode", args=["--no-enable-prefix-caching"]))),
        (Given("case1"), standin("case1")),
        (Given("case1"), Given("case2")),  # there the prefill converts: equal blocks arrive
    ],
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
    "P53-identical": [
        *(
            (Given("case1", args("prefill", words)), Given("case1", alike(words)))
            for words in (
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
            )
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
        *(
            (Given("case1", args("decode", words)), Given("case1", alike(words)))
            for words in (
                "--max-model-len 8192",
                "--enable-lora",
                "--lora-modules sql=/loras/sql",
                "--chat-template /t.jinja",
                "-q fp8",
            )
        ),
    ],
    "P55-remote-address": [
        (Given("case1", router_at("127.0.0.1")), Given("case1", router_at("192.0.2.31"))),
        (Given("case1", router_at("localhost")), Given("case1", router_at("localhost", ssh=None))),
        (Given("case2", managed("::1")), Given("case2", managed("2001:db8::10"))),
    ],
    "P56-secrets": [
        (
            Given("case1", role("prefill", env={"HF_TOKEN": "x"})),
            Given("case1", role("prefill", env={"HF_TOKEN_PATH": "/x", "MAX_TOKENS": "5"})),
        ),
        (Given("case1", role("decode", env={"my_api_key": "x"})), Given("case1")),
        (
            Given("case1", role("decode", args=["--api-key=x"])),
            Given("case1", role("decode", args=["--max-num-batched-tokens=5"])),
        ),
        (Given("case1", cuda(env={"HF_TOKEN": "x"})), Given("case1", cuda(env={"HF_HUB_OFFLINE": "1"}))),
        (Given("case1", cuda(container=["--env=A_SECRET=x"])), Given("case1", cuda(env={"A": "x"}))),
        (Given("case1", role("router", args=["--api-key", "x"])), Given("case1")),
        *(
            (Given("case1", args("decode", words)), Given("case1"))
            for words in (
                "--api_key X",
                "--api-k X",
                "--hf-token hf_x",
                "--hf_to X",
                "--additional-config {'api_token':'x'}",
                "--tool-server http://me:secret@there",
                "--unheard-of hf_abcdefghijklmnopqrstuvwx",
            )
        ),
        *(
            (
                Given("case1", role("prefill", env={name: value})),
                Given("case1", role("prefill", env={name: ok} if ok else {"A": "b"})),
            )
            for name, value, ok in (
                ("https_proxy", "http://me:secret@proxy:3128", "http://proxy:3128"),
                ("HTTP_PROXY", "http://me:secret@proxy", "http://proxy"),
                ("HF_ENDPOINT", "https://me:secret@mirror/hub", "https://mirror/hub"),
                ("PGPASSWORD", "x", ""),
                ("OPENAI_KEY", "x", ""),
                ("EXTRA", "Bearer abcdefghij", "Bearer"),
                ("EXTRA", "glpat-abc", "glp"),
            )
        ),
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
    "P64-listens": [
        (
            Given("case1", {**address("2001:db8::10"), **args("prefill", "--host 0.0.0.0")}),
            Given("case1", {**address("2001:db8::10"), **args("prefill", "--host ::")}),
        ),
        (
            Given("case1", args("prefill", "--host 127.0.0.1")),
            Given("case1", args("prefill", "--host=192.0.2.10")),
        ),
        (
            Given("case2", {**managed("198.51.100.10"), **args("decode", "--hos 192.0.2.10")}),
            Given("case2", {**managed("198.51.100.10"), **args("decode", "--hos 0.0.0.0")}),
        ),
        (
            Given("case2", {**managed("2001:db8::10"), **args("decode", "--host 0.0.0.0")}),
            Given("case2", managed("2001:db8::10")),
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
    "P73-lease-guard": [
        (Given("case1", role("prefill", args=GUARD)), Given("case1", alike(*GUARD))),
    ],
    "P71-one-release": [
        (standin("case1 standin=gaudi", pins("v0.30", vllm="0.29.0")), standin("case1 standin=gaudi")),
    ],
    "P72-others-memory": [
        (mixed(env={"UCX_TLS": "ib,rc"}), mixed(env={"UCX_TLS": "ib,rc,cuda"})),
        (mixed(env={"UCX_MODULES": "^cuda,gda"}), mixed(env={"UCX_MODULES": "^gda"})),
    ],
    "P63-recompute": [
        *(
            (Given("case1", recovery(role_name, "recompute")), Given("case1", recovery(role_name, "fail")))
            for role_name in ("prefill", "decode")
        ),
    ],
}


def flat(severity: str) -> list[Any]:
    return [
        pytest.param(rule, broken, kept, id=f"{rule}-{number}")
        for rule, sides in SIDES.items()
        if ENV.rules[rule].broken == severity
        for number, (broken, kept) in enumerate(sides)
    ]


def test_every_rule_is_tested_from_both_sides() -> None:
    assert set(SIDES) == set(CHECKS) == set(ENV.rules)


@pytest.mark.parametrize(("rule", "broken", "kept"), flat("refused"))
def test_refusing_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        broken.plan(tmp_path)
    assert refused.value.problem.startswith(f"{rule}: ")
    assert refused.value.exit_code == 2
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.fix
    kept.plan(tmp_path)


@pytest.mark.parametrize(("rule", "broken", "kept"), flat("warned"))
def test_warning_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    noted = [note for note in broken.plan(tmp_path).notes if note.rule == rule]
    assert len(noted) == 1
    assert len(noted[0].text.splitlines()) == 1
    assert rule not in [note.rule for note in kept.plan(tmp_path).notes]


def test_a_refusal_blames_what_the_user_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        standin("case1 prefill_block_size=256").plan(tmp_path)
    assert (refused.value.where, refused.value.field) == ("command line", "prefill_block_size")
    with pytest.raises(BadInput) as refused:
        Given("case1", role("prefill", env={"UCX_TLS": "tcp"})).plan(tmp_path)
    assert refused.value.where.endswith("hosts.yaml")


def test_the_documents_table_is_the_rules() -> None:
    text = (ROOT / page.PAGE).read_text()
    assert within(text, page.MADE, page.PAGE) == page.table(ENV), "`make schema` writes it anew"
    assert page.table(ENV).count("\n") == len(CHECKS) + 2


@pytest.mark.parametrize(
    "spelling", ["--enable_prefix_caching", "--enable-prefix", "--enable-prefix-caching"]
)
def test_no_spelling_evades_a_rule(spelling: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="P24-prefix-caching"):
        Given(f"case2 pins={REL}", args("prefill", spelling)).plan(tmp_path)


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


def test_engines_of_two_releases_are_named_with_their_connectors(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        Given("case1", images("vllm/vllm-openai:v0.33.0", "reg.example/gaudi:0.30.0")).plan(tmp_path)
    assert "the prefill runs vLLM 0.33 and the decode 0.30, whose NixlConnectors (15 and 11)" in str(
        refused.value
    )


def test_without_gaudi_gdr_kv_goes_through_the_hosts_memory(tmp_path: Path) -> None:
    plan = Given(f"case1 pins={NEWEST} {ALIKE}").plan(tmp_path)
    assert plan.variant == "base", "auto takes what the published packages can do, where that is enough"
    for engine in plan.engines:
        config = json.loads(engine.argv[-1])
        assert (config["kv_buffer_device"], "enable_permute_local_kv" in config) == ("cpu", False)
    with pytest.raises(BadInput, match="through the hosts' memory, where nothing is converted; use variant="):
        Given(f"case1 {THROUGH_HOST}").plan(tmp_path)


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


def test_a_secret_is_in_no_message(tmp_path: Path) -> None:
    for changes in (
        role("prefill", env={"https_proxy": "http://me:verysecret@proxy"}),
        role("prefill", env={"UCX_TLS": "tcp", "MY_TOKEN": "verysecret"}),
        args("decode", "--api-key verysecret --config x"),
    ):
        with pytest.raises(BadInput) as refused:
            Given("case1", changes).plan(tmp_path)
        assert "verysecret" not in str(refused.value)
        assert "P56" in str(refused.value)
