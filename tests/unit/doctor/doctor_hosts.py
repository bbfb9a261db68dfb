"""Healthy hosts, pairs of them and topologies; tests change single lines of what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from doctor_texts import LOGS, MADE, MOVED, NODE_RDMA, TEXTS, TRANSFER_RDMA

from heteropd.config import env as room
from heteropd.config.machine import Machine
from heteropd.doctor import exchange, judge, nixl, probe, targets
from heteropd.doctor.model import EngineTarget, ExaminedHost, ExaminedPair, HostTarget, Running
from heteropd.doctor.reach import Outside
from heteropd.engine_api.metrics import Counts
from heteropd.plan.model import ContainerPlan, HostPlan, Plan, Ports, RolePlan
from heteropd.system import Completed
from plan_words import make

ROOT = Path(__file__).parents[3]
CHECKS = judge.load(ROOT)
ENV = room.load(ROOT)
HOSTS = f"hosts={ROOT / 'env/hosts/example.yaml'}"


def targets_of(plan: Plan) -> list[HostTarget]:
    """The hosts of a plan, where nothing runs."""
    return targets.of_plan(plan, ENV, serves=False)


def engine(name: str, runs_on: str, address: str, side_channel: int, **env: str) -> EngineTarget:
    """An engine as planned; a stand-in where it runs on ``cpu``."""
    role = RolePlan(
        name=name,
        role="prefill" if name.startswith("prefill") else "decode",
        platform="cuda" if runs_on == "cpu" else runs_on,
        runs_on=runs_on,
        host=HostPlan(name="host", address=address),
        env=env,
        argv=["vllm"],
        ports=Ports(api=8100, side_channel=side_channel),
    )
    return EngineTarget(role, python="python3")


def with_role(target: EngineTarget, **changes: Any) -> EngineTarget:
    """The engine with changes of its role; ``env`` is added to what is there."""
    changes["env"] = target.role.env | changes.get("env", {})
    return replace(target, role=target.role.model_copy(update=changes))


# A guest of the lab: a stand-in that is to use verbs needs what an accelerator's engine needs of the fabric.
RXE_ENV = {"UCX_TLS": "rc,self", "UCX_NET_DEVICES": "rxe0:1", "UCX_IB_GID_INDEX": "1"}
CUDA_ENV = {"UCX_TLS": "ib,rc,cuda_copy", "UCX_NET_DEVICES": "mlx5_0:1"}
ENGINES = {
    "cuda": engine("prefill-0", "cuda", "192.0.2.10", 5600, **CUDA_ENV),
    "gaudi": engine("decode-0", "gaudi", "192.0.2.20", 5600, **CUDA_ENV | {"UCX_TLS": "ib,rc,gaudi_gdr"}),
    "cpu": engine("prefill-0", "cpu", "127.0.0.1", 5600, UCX_TLS="tcp,sm,self"),
    "rxe": engine("prefill-0", "cpu", "10.77.0.1", 5600, **RXE_ENV),
}
ROUTER = RolePlan(
    name="router",
    role="router",
    platform="router",
    runs_on="router",
    host=HostPlan(name="proxy-node", address="192.0.2.30"),
    env={},
    argv=["vllm-router"],
    ports=Ports(api=8000),
)
TARGETS = {
    "cuda": HostTarget("cuda-node", engines=(ENGINES["cuda"],), model="/models/one"),
    "gaudi": HostTarget("gaudi-node", engines=(ENGINES["gaudi"],), model="/models/one"),
    "cpu": HostTarget(
        "local", engines=(ENGINES["cpu"], engine("decode-0", "cpu", "127.0.0.1", 5601, UCX_TLS="tcp,sm,self"))
    ),
    "router": HostTarget("proxy-node", router=ROUTER),
    "rxe": HostTarget("guest", engines=(ENGINES["rxe"],)),
}
AROUND = {"rxe": (1795378229.2, 1795378233.4)}  # our clock before and after the probe
USUALLY = (1795376000.0, 1795376000.3)


def node(
    kind: str,
    *edits: tuple[str, str],
    said: Sequence[nixl.NixlReading] | None = None,
    env: Mapping[str, str] | None = None,
    container: ContainerPlan | None = None,
    ports: Ports | None = None,
    **target: Any,
) -> ExaminedHost:
    """A healthy host of a kind, with texts of its facts replaced and its target changed.

    ``env`` is added to its engines' environment; ``container`` and ``ports`` are theirs.
    """
    text = TEXTS[kind]
    for old, new in edits:
        assert old in text, f"nothing to change: {old}"
        text = text.replace(old, new)
    wanted = replace(TARGETS[kind], **target)
    changes: dict[str, Any] = {"env": env or {}}
    changes |= {name: value for name, value in (("container", container), ("ports", ports)) if value}
    wanted = replace(wanted, engines=tuple(with_role(each, **changes) for each in wanted.engines))
    if said is None:
        said = [seen(each.name, log=LOGS.get(kind, NODE_RDMA)) for each in wanted.engines]
    return ExaminedHost(
        wanted, probe.parse_facts(text, *AROUND.get(kind, USUALLY)), CHECKS.limits, tuple(said)
    )


def seen(name: str = "prefill-0", *, log: str | None = None, **changes: Any) -> nixl.NixlReading:
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


def pair_of(one: ExaminedHost, other: ExaminedHost, talk: Talker | None = None) -> ExaminedPair:
    """Two hosts and what they sent to each other."""
    outside = Outside(reach=lambda _: Canned(""), talk=talk or talker())
    return exchange.examine_pair(one, other, outside)


@cache
def plan_of(words: str) -> Plan:
    return make(words.split(), ROOT, Machine(cores=[0, 1]))


def running(
    words: str = "case1",
    logs: dict[str, str | None] | None = None,
    routed: int | None = 10,
    token_bytes: int | None = 2000,
    **counts: int | None,
) -> Running:
    """A healthy topology after ten long requests; counts of the decode changed."""
    healthy = {"bytes": 10_000_000, "failed_transfers": 0, "requests": 10, "prompt_tokens": 5000}
    plan = plan_of(words)
    texts = {role.name: "INFO: started\n" for role in plan.engines} | (logs or {})
    decode = Counts({**Counts.read(""), **healthy, **counts})
    forbidden: dict[str, tuple[str, ...]] = {"cuda": ("tcp", "all"), "gaudi": ("tcp", "all"), "cpu": ()}
    return Running(plan, Counts.read(""), decode, texts, forbidden, routed=routed, token_bytes=token_bytes)


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
