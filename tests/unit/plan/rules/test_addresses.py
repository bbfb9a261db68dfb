"""Rules about where engines listen, and where others reach them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rule_sides import EXAMPLE, Given, Sides, args, cuda, each_side, judge, role, standin

from heteropd.plan.rules import addresses


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


def second_decode(**host: Any) -> dict[str, Any]:
    """The example with a second Gaudi node."""
    hosts = {**EXAMPLE["hosts"], "gaudi-2": {"address": "192.0.2.21", "ssh": "gaudi-2", **host}}
    return {"hosts": hosts, "platforms": {"cuda": "cuda-node", "gaudi": ["gaudi-node", "gaudi-2"]}}


def router_at(address: str, ssh: str | None = "root@proxy") -> dict[str, Any]:
    return {"hosts": {**EXAMPLE["hosts"], "proxy-node": {"address": address, "ssh": ssh}}}


def managed(address: str) -> dict[str, Any]:
    cuda_node = {**EXAMPLE["hosts"]["cuda-node"], "management": address}
    return {"hosts": {**EXAMPLE["hosts"], "cuda-node": cuda_node}}


SIDES: Sides = {
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
    "P47-remote-process": [
        (Given("case1 runtime=process"), Given("case1 runtime=docker")),
        (
            Given("case1 runtime=process"),
            Given("case1 runtime=process", engines_python("/opt/heteropd/bin/python")),
        ),
    ],
    "P55-remote-address": [
        (Given("case1", router_at("127.0.0.1")), Given("case1", router_at("192.0.2.31"))),
        (Given("case1", router_at("localhost")), Given("case1", router_at("localhost", ssh=None))),
        (Given("case2", managed("::1")), Given("case2", managed("2001:db8::10"))),
        (
            Given("case1", router_at("192.0.2.31", EXAMPLE["hosts"]["cuda-node"]["ssh"])),
            Given("case1", router_at("192.0.2.31")),
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
}


@each_side(addresses, SIDES)
def test_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    judge(rule, broken, kept, tmp_path)
