"""A case for every check and every answer: the faults that are planted, and what must be said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from doctor_hosts import CHECKS, HOSTS, Talker, node, pair_of, running
from doctor_texts import TRANSFER_RXE, TRANSFER_TCP

from heteropd.doctor import judge
from heteropd.findings import Finding
from heteropd.plan.model import ContainerPlan

Case = tuple[str, Callable[[], Any], str]
PORT = "port\tmlx5_0\t1\t4: ACTIVE\tEthernet"
ROUTABLE = "gid\tmlx5_0\t1\t3\t0000:0000:0000:0000:0000:ffff:c000:020a\tRoCE v2\tens1\n"
BOX = ContainerPlan(image="heteropd/cuda:doc-2025-12-base", args=[], device_args=["--gpus=all"])
SHELL = "memlock\tshell\tunlimited\t0000000000000000\n"
LOW = "memlock\tshell\t65536\t0000000000000000\n"
ENGINE = "memlock\t4711\t65536\t0000000000000000\n"
PEERMEM = "module\tnvidia_peermem\n"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64"
# As nvidia-smi of an H200 prints it.
GPU = "gpu\t0, NVIDIA H200, 0 MiB, 143771 MiB, 570.124.06, GPU-0\n"
HPU = "hpu\t0, HL-225, 768 MiB, 98304 MiB, 1.22.2-32a8e4d\n"
CARD = "accel\t/dev/accel/accel0\tyes\n"
CONTROL = "accel\t/dev/accel/accel_controlD0\tyes\n"
INFINIBAND = (PORT, PORT.replace("Ethernet", "InfiniBand"))
START = "INFO:     Waiting for application startup.\nINFO:     Application startup complete.\n"
# A decode of stand-ins after `make validate`, of whose 66 requests 38 came by the router.
SEEN: dict[str, Any] = {"requests": 68, "routed": 38, "prompt_tokens": 7362, "external_hits": 5155}
SEEN |= {"bytes": 252_887_040, "transfers": 38, "token_bytes": 46_080}
THOUSAND: dict[str, Any] = {"requests": 1000, "prompt_tokens": 512_000, "routed": 1000}
AT = "(EngineCore_DP0 pid=7) ERROR 10-07 17:11:06 [nixl_connector.py:832] "
HANDSHAKE = f"{AT}Handshake failed for request cmpl-6e8a849f-0, marking blocks as invalid\n"
DISCONNECT = f"{AT}nixl_cu12._bindings.nixlRemoteDisconnectError: NIXL_ERR_REMOTE_DISCONNECT\n"
FAILURE = f"{AT}NIXL transfer failure: handshake_failed | Context: {{'request_id': 'cmpl-1'}}\n"
MISMATCH = f"{AT}RuntimeError: Remote NIXL agent engine ID mismatch. Expected a, received b.\n"
SAID = "KV cache postprocess on save is enabled"
RDMA = "UCX  INFO  ucp_context_0 inter-node cfg#1 rma(rc_mlx5/mlx5_0:1) am(rc_mlx5/mlx5_0:1)\n"
TCP = "UCX  INFO  ep_cfg[2]: rma(tcp/ens1) am(tcp/ens1)\n"


def one(kind: str, *edits: tuple[str, str], **target: Any) -> Callable[[], list[Finding]]:
    return lambda: judge.judge_host(node(kind, *edits, **target), CHECKS)


def two(
    *edits: tuple[str, str], kind: str = "gaudi", talk: Talker | None = None, **target: Any
) -> Callable[[], list[Finding]]:
    """A healthy CUDA host beside one with a fault, or with a fault in what they send to each other."""
    return lambda: judge.judge_pair(pair_of(node("cuda"), node(kind, *edits, **target), talk), CHECKS)


def live(words: str = "case1", **changes: Any) -> Callable[[], list[Finding]]:
    return lambda: judge.judge_topology(running(words, **changes), CHECKS)


def recomputing() -> list[Finding]:
    return judge.judge_topology(replace(running(), recomputing=("decode-0",)), CHECKS)


def dead() -> list[Finding]:
    gone = {role.name: "dead" for role in running().plan.roles}
    return judge.judge_topology(replace(running(), unhealthy=gone), CHECKS)


def unhealthy() -> list[Finding]:
    return judge.judge_topology(replace(running(), unhealthy={"decode-0": "dead"}), CHECKS)


def over_verbs(log: str) -> Callable[[], list[Finding]]:
    """Stand-ins whose UCX_TLS names RDMA."""
    found = running(logs={"decode-0": log})
    roles = [role.model_copy(update={"env": role.env | {"UCX_TLS": "rc,self"}}) for role in found.plan.roles]
    changed = replace(found, plan=found.plan.model_copy(update={"roles": roles}))
    return lambda: judge.judge_topology(changed, CHECKS)


def node_case(check: str, expected: str, kind: str, *edits: tuple[str, str], **target: Any) -> Any:
    return check, one(kind, *edits, **target), expected


CASES: list[Case] = [
    node_case("T2-09-net-devices", "PASS", "cuda"),
    node_case("T2-09-net-devices", "PASS", "gaudi", env={"UCX_NET_DEVICES": "all"}),
    node_case("T2-09-net-devices", "FAIL", "cuda", env={"UCX_NET_DEVICES": "mxl5_0:1"}),
    node_case("T2-09-net-devices", "FAIL", "cuda", env={"UCX_NET_DEVICES": "mlx5_1:1"}),
    node_case("T2-09-net-devices", "FAIL", "cuda", env={"UCX_NET_DEVICES": "ens1"}),
    node_case("T2-09-net-devices", "FAIL", "cuda", ("4: ACTIVE", "1: DOWN"), env={"UCX_NET_DEVICES": "^x"}),
    node_case("T2-09-net-devices", "FAIL", "cuda", ("port\t", "prot\t")),
    node_case("T2-09-net-devices", "SKIP", "cpu"),
    node_case("T2-10-verbs-devices", "PASS", "cuda"),
    node_case("T2-10-verbs-devices", "FAIL", "cuda", ("uverbs0\tyes", "uverbs0\tno")),
    node_case("T2-10-verbs-devices", "FAIL", "gaudi", ("verbs\t/dev/infiniband/uverbs0\tyes\n", "")),
    node_case("T2-10-verbs-devices", "SKIP", "cpu"),
    node_case("T2-11-memlock", "PASS", "cuda"),
    node_case("T2-11-memlock", "PASS", "cuda", (SHELL, LOW.replace("0000000000000000", "000001ffffffffff"))),
    node_case("T2-11-memlock", "FAIL", "cuda", (SHELL, LOW)),
    node_case("T2-11-memlock", "WARN", "cuda", (SHELL, LOW), container=BOX),
    node_case("T2-11-memlock", "FAIL", "cuda", (SHELL, SHELL + ENGINE), serves=True),
    # An engine of somebody else's may have any limit.
    node_case("T2-11-memlock", "PASS", "cuda", (SHELL, SHELL + ENGINE)),
    node_case(
        "T2-11-memlock", "PASS", "cuda", (SHELL, LOW + ENGINE.replace("65536", "unlimited")), serves=True
    ),
    node_case("T2-11-memlock", "WARN", "cuda", (SHELL, "")),
    node_case("T2-11-memlock", "SKIP", "cpu"),
    node_case("T2-12-roce-gid", "PASS", "cuda"),
    node_case("T2-12-roce-gid", "WARN", "cuda", (ROUTABLE, "")),
    node_case("T2-12-roce-gid", "FAIL", "cuda", ("RoCE v2", "IB/RoCE v1")),
    node_case("T2-12-roce-gid", "FAIL", "cuda", ("gid\t", "dig\t")),
    node_case("T2-12-roce-gid", "SKIP", "cuda", INFINIBAND),
    node_case("T2-12-roce-gid", "SKIP", "cuda", ("4: ACTIVE", "1: DOWN")),
    node_case("T2-13-gpudirect", "PASS", "cuda"),
    node_case("T2-13-gpudirect", "FAIL", "cuda", (PEERMEM, "")),
    node_case("T2-13-gpudirect", "WARN", "cuda", (PEERMEM, ""), (CLOSED, OPEN)),
    node_case("T2-13-gpudirect", "FAIL", "cuda", (PEERMEM, ""), (CLOSED, OPEN), ("6.8.0", "5.4.0")),
    node_case("T2-13-gpudirect", "SKIP", "gaudi"),
    node_case("T2-14-accel-devices", "PASS", "gaudi"),
    node_case("T2-14-accel-devices", "FAIL", "gaudi", (CARD, "")),
    node_case("T2-14-accel-devices", "FAIL", "gaudi", (CONTROL, "")),
    node_case("T2-14-accel-devices", "FAIL", "gaudi", (CARD, CARD.replace("yes", "no"))),
    node_case("T2-14-accel-devices", "SKIP", "cuda"),
    node_case("T2-16-side-channel-address", "PASS", "cuda"),
    node_case("T2-16-side-channel-address", "PASS", "cuda", env={"VLLM_NIXL_SIDE_CHANNEL_HOST": "fd00::2"}),
    node_case(
        "T2-16-side-channel-address", "FAIL", "cuda", env={"VLLM_NIXL_SIDE_CHANNEL_HOST": "198.51.100.7"}
    ),
    node_case(
        "T2-16-side-channel-address", "SKIP", "cuda", env={"VLLM_NIXL_SIDE_CHANNEL_HOST": "node.example"}
    ),
    node_case("T2-18-ports-free", "PASS", "cuda"),
    node_case("T2-18-ports-free", "FAIL", "cuda", ("0100007F:A087", "00000000:1FA4")),
    node_case("T2-18-ports-free", "WARN", "cuda", ("sockets", "stockings")),
    node_case("T2-18-ports-free", "SKIP", "cuda", ("0100007F:A087", "00000000:1FA4"), serves=True),
    node_case("T2-18-ports-free", "PASS", "router"),
    node_case("T2-35-accelerator-free", "PASS", "cuda"),
    node_case("T2-35-accelerator-free", "PASS", "gaudi"),
    node_case("T2-35-accelerator-free", "FAIL", "cuda", (GPU, GPU + "app\t811, python3, 1634 MiB, GPU-0\n")),
    node_case("T2-35-accelerator-free", "FAIL", "gaudi", (CARD, CARD + "holder\t4711\t/dev/accel/accel0\n")),
    node_case("T2-35-accelerator-free", "WARN", "gaudi", ("uid\t0", "uid\t1000")),
    node_case("T2-35-accelerator-free", "SKIP", "cuda", (GPU, "")),
    node_case("T2-50-host-answers", "PASS", "router"),
    node_case("T2-51-accelerator-answers", "PASS", "cuda"),
    node_case("T2-51-accelerator-answers", "PASS", "gaudi"),
    node_case("T2-51-accelerator-answers", "FAIL", "cuda", (GPU, "")),
    node_case("T2-51-accelerator-answers", "FAIL", "cuda", (GPU, "gpu\tNVIDIA-SMI has failed because …\n")),
    node_case("T2-51-accelerator-answers", "FAIL", "gaudi", (HPU, "")),
    node_case("T2-51-accelerator-answers", "SKIP", "cpu"),
    node_case("T2-52-memory", "PASS", "cpu"),
    node_case("T2-52-memory", "FAIL", "cpu", ("16252928", "4194304")),
    node_case("T2-52-memory", "FAIL", "cuda", ("263671876", "4194304")),
    node_case("T2-52-memory", "SKIP", "cuda", ("263671876", "")),
    node_case("T2-53-disk", "PASS", "cuda"),
    node_case("T2-53-disk", "WARN", "cuda", ("943718400", "1048576")),
    node_case("T2-53-disk", "SKIP", "cuda", ("943718400", "")),
    node_case("T2-54-shared-memory", "PASS", "cpu"),
    node_case("T2-54-shared-memory", "FAIL", "cuda", ("67108864", "65536")),
    node_case("T2-54-shared-memory", "SKIP", "cuda", ("67108864", "")),
    node_case("T2-55-model", "PASS", "cuda"),
    node_case("T2-55-model", "FAIL", "cuda", ("model\tyes", "model\tempty")),
    node_case("T2-55-model", "FAIL", "cuda", ("model\tyes", "model\tno")),
    node_case("T2-55-model", "SKIP", "cuda", model=""),
    ("T3-09-link-layer", two(), "PASS"),
    ("T3-09-link-layer", two(INFINIBAND), "FAIL"),
    ("T3-09-link-layer", two(("4: ACTIVE", "1: DOWN")), "SKIP"),
    ("T3-56-mtu", two(), "PASS"),
    ("T3-56-mtu", two(("ens1\t9000", "ens1\t1500")), "FAIL"),
    ("T3-56-mtu", two(("mtu\tens1\t9000\n", "")), "SKIP"),
    ("T4-08-transport", live(f"case1 {HOSTS}", logs={"decode-0": RDMA}), "PASS"),
    ("T4-08-transport", live(f"case1 {HOSTS}", logs={"decode-0": RDMA + TCP}), "FAIL"),
    ("T4-08-transport", live(f"case1 {HOSTS}"), "SKIP"),
    ("T4-08-transport", live(logs={"decode-0": TCP}), "SKIP"),
    ("T4-08-transport", over_verbs(TRANSFER_RXE), "PASS"),
    ("T4-08-transport", over_verbs(TRANSFER_RXE + TRANSFER_TCP), "FAIL"),
    (
        "T4-24-conversion",
        live("case2", logs={"prefill-0": SAID}),
        "PASS",
    ),
    ("T4-24-conversion", live("case2", logs={"prefill-0": "KV cache is converted on save to HND"}), "PASS"),
    ("T4-24-conversion", live("case2"), "FAIL"),
    ("T4-24-conversion", live("case2", logs={"prefill-0": None}), "WARN"),
    ("T4-24-conversion", live("case1"), "SKIP"),
    ("T4-30-expired", live(), "PASS"),
    ("T4-30-expired", live(expired=2), "FAIL"),
    ("T4-30-expired", live(logs={"prefill-0": "WARNING Releasing expired KV blocks for request 7"}), "FAIL"),
    ("T4-30-expired", live(logs={"prefill-0": None}), "SKIP"),
    ("T4-31-kv-moved", live(), "PASS"),
    ("T4-31-kv-moved", live(**SEEN), "PASS"),
    ("T4-31-kv-moved", live(**SEEN | {"token_bytes": None}), "PASS"),
    ("T4-31-kv-moved", live(**SEEN | {"bytes": 5000}), "FAIL"),
    ("T4-31-kv-moved", live(**SEEN | {"transfers": 18}), "FAIL"),
    ("T4-31-kv-moved", live(**SEEN | {"transfers": 30}), "WARN"),
    ("T4-31-kv-moved", live(**SEEN | {"transfers": 0, "bytes": 0, "external_hits": 0}), "FAIL"),
    ("T4-31-kv-moved", live(bytes=None, transfers=10), "PASS"),
    ("T4-31-kv-moved", live(bytes=None, transfers=4), "FAIL"),
    # 5,000 bytes for a thousand requests, with and without what would tell how much is right.
    ("T4-31-kv-moved", live(bytes=5000, **THOUSAND), "FAIL"),
    ("T4-31-kv-moved", live(bytes=5000, token_bytes=None, external_hits=32, **THOUSAND), "FAIL"),
    ("T4-31-kv-moved", live(bytes=5000, token_bytes=None, **THOUSAND), "FAIL"),
    ("T4-31-kv-moved", live(bytes=5000, **THOUSAND | {"routed": None}), "FAIL"),
    ("T4-31-kv-moved", live(token_bytes=None), "WARN"),
    ("T4-31-kv-moved", live(bytes=6_000_000), "WARN"),
    ("T4-31-kv-moved", live(bytes=4_000_000), "FAIL"),
    ("T4-31-kv-moved", live(bytes=10_240_000), "PASS"),
    ("T4-31-kv-moved", live(bytes=None, external_hits=4990), "PASS"),
    ("T4-31-kv-moved", live(bytes=None, external_hits=2000), "FAIL"),
    # What the decode has in its own prefix cache is not sent again.
    ("T4-31-kv-moved", live(bytes=2_000_000, local_hits=4000), "PASS"),
    ("T4-31-kv-moved", live(bytes=2_000_000, local_hits=4000, transfers=4), "PASS"),
    ("T4-31-kv-moved", live(bytes=0, local_hits=5000), "SKIP"),
    # Half of the requests went to the decode alone: the router knows, and without it nobody does.
    ("T4-31-kv-moved", live(routed=5, bytes=5_000_000, transfers=5), "PASS"),
    ("T4-31-kv-moved", live(routed=None, bytes=5_000_000), "PASS"),
    ("T4-31-kv-moved", live(routed=None, bytes=1_000_000), "WARN"),
    ("T4-31-kv-moved", live(routed=None, bytes=5000), "FAIL"),
    # A router that is older than its decode counts what the former one answered.
    ("T4-31-kv-moved", live(routed=5000, transfers=8), "PASS"),
    ("T4-31-kv-moved", live(routed=0), "SKIP"),
    ("T4-31-kv-moved", live(bytes=0), "FAIL"),
    ("T4-31-kv-moved", live(failed_transfers=1), "FAIL"),
    ("T4-31-kv-moved", live(bytes=None), "WARN"),
    ("T4-31-kv-moved", live(bytes=0, requests=0), "SKIP"),
    ("T4-31-kv-moved", live(bytes=0, prompt_tokens=40), "SKIP"),
    # Questions of `make status` make the average short, and not the prompts that came by the router.
    ("T4-32-short-prompts", live(**SEEN | {"requests": 5000}), "WARN"),
    ("T4-32-short-prompts", live(external_hits=6000, transfers=10, requests=5000), "PASS"),
    ("T4-32-short-prompts", live(), "PASS"),
    ("T4-32-short-prompts", live(prompt_tokens=1500), "WARN"),
    ("T4-32-short-prompts", live(requests=None), "SKIP"),
    ("T4-33-restarted", live(logs={"prefill-0": START, "decode-0": START}), "PASS"),
    ("T4-33-restarted", live(logs={"prefill-0": START * 2, "decode-0": START * 2}), "PASS"),
    ("T4-33-restarted", live(logs={"prefill-0": START * 2, "decode-0": START}), "FAIL"),
    ("T4-33-restarted", live(logs={"prefill-0": START, "decode-0": None}), "SKIP"),
    ("T4-34-roles", live(), "PASS"),
    ("T4-65-load-failures", live(), "PASS"),
    ("T4-65-load-failures", recomputing, "WARN"),
    ("T4-65-load-failures", dead, "SKIP"),
    ("T4-66-kv-errors", live(), "PASS"),
    ("T4-66-kv-errors", live(logs={"decode-0": HANDSHAKE}), "FAIL"),
    ("T4-66-kv-errors", live(logs={"decode-0": DISCONNECT}), "FAIL"),
    ("T4-66-kv-errors", live(logs={"decode-0": START + FAILURE}), "FAIL"),
    ("T4-66-kv-errors", live(logs={"prefill-0": MISMATCH, "decode-0": None}), "FAIL"),
    ("T4-66-kv-errors", live(logs={"decode-0": DISCONNECT + START}), "PASS"),
    ("T4-66-kv-errors", live(logs={"decode-0": None}), "SKIP"),
    ("T4-34-roles", unhealthy, "FAIL"),
]
HEALTHY = [
    one("cuda"),
    one("gaudi"),
    one("rxe"),
    one("router"),
    two(),
    two(kind="rxe"),
    live(f"case1 {HOSTS}"),
]
