"""Hosts as the probe prints them, healthy; tests change single lines.

What NIXL and UCX print is from real runs, over TCP and over Soft-RoCE (recorded/).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from heteropd.plan import make
from heteropd.plan.model import Plan
from heteropd.preflight import catalogue, exchange, facts, nixl
from heteropd.preflight.model import Engine, Node, Pair, Running, Target
from heteropd.preflight.reach import Outside
from heteropd.seams import Completed
from heteropd.spec.machine import Machine
from heteropd.validate.metrics import Counts

ROOT = Path(__file__).parents[3]
CHECKS = catalogue.load(ROOT)
RECORDED = Path(__file__).parent / "recorded"
HOSTS = f"hosts={ROOT / 'env/hosts/example.yaml'}"


_COMMON = """\
clock	1795376000.1
kernel	6.8.0-60-generic
uid	0
verbs	/dev/infiniband/uverbs0	yes
port	mlx5_0	1	4: ACTIVE	Ethernet
port	mlx5_1	1	1: DOWN	Ethernet
gid	mlx5_0	1	0	fe80:0000:0000:0000:0202:c9ff:fe00:0001	IB/RoCE v1	ens1
gid	mlx5_0	1	1	fe80:0000:0000:0000:0202:c9ff:fe00:0001	RoCE v2	ens1
gid	mlx5_0	1	3	0000:0000:0000:0000:0000:ffff:c000:020a	RoCE v2	ens1
mtu	ens1	9000
mtu	lo	65536
address	127.0.0.1
address	192.0.2.10
address	192.0.2.20
address6	fd000000000000000000000000000002
sockets	read
listen	00000000:0016
listen	0100007F:A087
memlock	shell	unlimited	0000000000000000
ibdev	mlx5_0	/sys/devices/pci0000:00/0000:00:01.0/infiniband/mlx5_0	node mlx5_0
memory_kib	263671876
disk_kib	943718400	/root
shm_kib	67108864
model	yes
"""
CUDA = f"""{_COMMON}module	nvidia_peermem
nvidia	NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26 01:56:37 UTC 2025
gpu	0, NVIDIA H100 80GB HBM3, 1 MiB, 81559 MiB
clock	1795376000.2
end
"""
GAUDI = f"""{_COMMON}accel	/dev/accel/accel0	yes
accel	/dev/accel/accel_controlD0	yes
hpu	0, HL-225, 768 MiB, 98304 MiB
clock	1795376000.2
end
"""
CPU = """\
kernel	6.1.0-44-amd64
uid	1000
address	127.0.0.1
sockets	read
memlock	shell	8388608	0000000000000000
memory_kib	16252928
disk_kib	20971520	/home/someone
shm_kib	8126464
clock	1795376000.2
end
"""
LIBRARIES = "/opt/engine/lib/python3.11/site-packages/nixl_cu12.libs"
MADE: dict[str, Any] = {
    "error": None,
    "agent": True,
    "nixl": "1.5.1",
    "ucx": "1.23.0",
    "libraries": {
        "ibverbs": ["/usr/lib/x86_64-linux-gnu/libibverbs.so.1.14.44.0"],
        "ucp": [f"{LIBRARIES}/libucp-b39b3ed9.so.0.0.0"],
        "ucs": [f"{LIBRARIES}/libucs-14c218c5.so.0.0.0"],
        "uct": [f"{LIBRARIES}/libuct-1141f529.so.0.0.0"],
    },
    "opened": [],
}
MOVED = MADE | {
    "step": "transfer",
    "mb_s": {"WRITE": 9660.5, "READ": 9482.7},
    "wrong": {"READ": None, "WRITE": None},
}


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.log").read_text()


NODE_TCP, NODE_NO_RC, NODE_UNKNOWN = recorded("node_tcp"), recorded("node_no_rc"), recorded("node_unknown")
TRANSFER_TCP = recorded("transfer_tcp")
# Soft-RoCE's lines with a card's names in them.
NODE_RXE, TRANSFER_RXE = recorded("node_rxe"), recorded("transfer_rxe")
NODE_RDMA, TRANSFER_RDMA = (
    log.replace("rxe0", "mlx5_0").replace("rc_verbs", "rc_mlx5") for log in (NODE_RXE, TRANSFER_RXE)
)
LOGS = {"cpu": NODE_TCP, "rxe": NODE_RXE}
TEXTS = {
    "cuda": CUDA,
    "gaudi": GAUDI,
    "cpu": CPU,
    "router": CPU,
    "rxe": (RECORDED / "probe_rxe.txt").read_text(),
}
ENGINES = {
    "cuda": Engine(
        "prefill-0",
        "192.0.2.10",
        5600,
        {"UCX_TLS": "ib,rc,cuda_copy", "UCX_NET_DEVICES": "mlx5_0:1"},
        python="python3",
    ),
    "gaudi": Engine(
        "decode-0",
        "192.0.2.20",
        5600,
        {"UCX_TLS": "ib,rc,gaudi_gdr", "UCX_NET_DEVICES": "mlx5_0:1"},
        python="python3",
    ),
    "cpu": Engine("prefill-0", "127.0.0.1", 5600, {"UCX_TLS": "tcp,sm,self"}, standin=True, python="python3"),
}
TARGETS = {
    "cuda": Target(
        "cuda-node",
        platforms=frozenset({"cuda"}),
        announced=("192.0.2.10",),
        ports={8100: "prefill-0 api", 5600: "prefill-0 side_channel"},
        devices=("mlx5_0:1",),
        model="/models/one",
        engines=(ENGINES["cuda"],),
        verbs=True,
    ),
    "cpu": Target(
        "local",
        platforms=frozenset({"cpu"}),
        announced=("127.0.0.1",),
        engines=(ENGINES["cpu"], replace(ENGINES["cpu"], name="decode-0", side_channel=5601)),
    ),
    "router": Target("proxy-node", platforms=frozenset({"router"}), ports={8000: "router api"}),
}
# A guest of the lab: a stand-in that is to use verbs needs what an accelerator's engine needs of the fabric.
RXE_ENV = {"UCX_TLS": "rc,self", "UCX_NET_DEVICES": "rxe0:1", "UCX_IB_GID_INDEX": "1"}
TARGETS["rxe"] = Target(
    "guest",
    platforms=frozenset({"cpu"}),
    announced=("10.77.0.1",),
    devices=("rxe0:1",),
    engines=(Engine("prefill-0", "10.77.0.1", 5600, RXE_ENV, standin=True, python="python3"),),
    verbs=True,
)
TARGETS["gaudi"] = replace(
    TARGETS["cuda"],
    name="gaudi-node",
    platforms=frozenset({"gaudi"}),
    announced=("192.0.2.20",),
    engines=(ENGINES["gaudi"],),
)
AROUND = {"rxe": (1795378229.2, 1795378233.4)}  # our clock before and after the probe
USUALLY = (1795376000.0, 1795376000.3)


def node(kind: str, *edits: tuple[str, str], said: Sequence[nixl.Nixl] | None = None, **target: Any) -> Node:
    """A healthy host of a kind, with texts of its facts replaced and its target changed."""
    text = TEXTS[kind]
    for old, new in edits:
        assert old in text, f"nothing to change: {old}"
        text = text.replace(old, new)
    wanted = replace(TARGETS[kind], **target)
    if said is None:
        said = [seen(engine.name, log=LOGS.get(kind, NODE_RDMA)) for engine in wanted.engines]
    return Node(wanted, facts.parse(text, *AROUND.get(kind, USUALLY)), CHECKS.limits, tuple(said))


def seen(name: str = "prefill-0", *, log: str | None = None, **changes: Any) -> nixl.Nixl:
    """NIXL on a healthy host, as programs/nixl_node.py reports it."""
    return nixl.read(name, nixl.report(reported(MADE | changes, NODE_RDMA if log is None else log)))


def reported(found: object, log: str = "") -> Completed:
    """What a program leaves behind that came to its end."""
    return Completed(("program",), 0, f"= {json.dumps(found)}\n", log)


@dataclass
class Talker:
    """In the place of two programs that talk: answers by what was asked, and remembers it."""

    channel: Sequence[Completed] = ()
    ping: Sequence[Completed] = ()
    transfer: Sequence[Completed] = ()
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(
        self, one: Sequence[str], other: Sequence[str], seconds: float
    ) -> tuple[Completed, Completed]:
        assert seconds < 100
        asked = [json.loads(argv[-1]) for argv in (one, other)]
        self.asked += asked
        given = self.channel if "token" in asked[0] else self.ping if "device" in asked[0] else self.transfer
        first, second = given
        return first, second


HEARD = {"listening": "ours", "connected": None}
PINGED = {
    "code": 0,
    "out": "819200 bytes in 0.72 seconds = 9.11 Mbit/sec\n100 iters in 0.72 seconds = 7194.14 usec/iter\n",
}


def talker(**changes: Sequence[Completed]) -> Talker:
    """Two healthy hosts: all programs end well."""
    log = "".join(TRANSFER_RDMA)
    healthy: dict[str, Sequence[Completed]] = {
        "channel": [reported(HEARD), reported(HEARD)],
        "ping": [reported(PINGED), reported(PINGED)],
        "transfer": [reported(MOVED, log), reported(MOVED, log)],
    }
    return Talker(**(healthy | changes))


def pair_of(one: Node, other: Node, talk: Talker | None = None) -> Pair:
    """Two hosts and what they sent to each other."""
    outside = Outside(reach=lambda _: Canned(""), talk=talk or talker())
    return Pair(one, other, exchange.between(one, other, outside))


@cache
def plan_of(words: str) -> Plan:
    return make(words.split(), ROOT, Machine(cores=[0, 1]))


def running(words: str = "case1", logs: dict[str, str | None] | None = None, **counts: int | None) -> Running:
    """A healthy topology after ten long requests; counts of the decode changed."""
    healthy = {"bytes": 10_000_000, "failed_transfers": 0, "requests": 10, "prompt_tokens": 5000}
    plan = plan_of(words)
    texts = {role.name: "INFO: started\n" for role in plan.engines} | (logs or {})
    decode = Counts({**Counts.read(""), **healthy, **counts})
    return Running(
        plan, Counts.read(""), decode, texts, {"cuda": ("tcp", "all"), "gaudi": ("tcp", "all"), "cpu": ()}
    )


@dataclass
class Canned:
    """A reader that answers with one text and remembers what it was asked."""

    out: str
    code: int = 0
    err: str = ""
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def run(self, argv: Any, *, timeout_s: float = 60.0) -> Completed:
        del timeout_s
        self.asked.append(tuple(argv))
        return Completed(tuple(argv), self.code, self.out, self.err)


@dataclass
class Healthy(Canned):
    """A reader of a host that answers the probe with ``out``, and is well when NIXL is started there."""

    def run(self, argv: Any, *, timeout_s: float = 60.0) -> Completed:
        done = super().run(argv, timeout_s=timeout_s)
        return reported(MADE, NODE_RDMA) if "heteropd-probe" in argv else done
