"""Every check says PASS, FAIL or WARN when its fault is planted, and SKIP when it cannot or need not look.

Hosts are written down here as the probe would print them, healthy; tests change single lines.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from heteropd.errors import BadInput
from heteropd.plan import make
from heteropd.plan.model import Plan
from heteropd.preflight import catalogue, command, doctor, facts, judge, pages, targets
from heteropd.preflight.catalogue import NODE, PAIR, TOPOLOGY
from heteropd.preflight.model import Node, Result, Running, Target
from heteropd.preflight.runners import ContainerRunner, SshRunner
from heteropd.seams import Completed
from heteropd.spec.machine import Machine
from heteropd.topology import Context, Topology
from heteropd.topology.state import RoleState, save
from heteropd.validate.metrics import Counts

ROOT = Path(__file__).parents[2]
CHECKS = catalogue.load(ROOT)
HOSTS = f"hosts={ROOT / 'env/hosts/example.yaml'}"

_COMMON = """\
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
memory_kib	263671876
disk_kib	943718400	/root
shm_kib	67108864
model	yes
"""
CUDA = f"""{_COMMON}module	nvidia_peermem
nvidia	NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26 01:56:37 UTC 2025
gpu	0, NVIDIA H100 80GB HBM3, 1 MiB, 81559 MiB
end
"""
GAUDI = f"""{_COMMON}accel	/dev/accel/accel0	yes
accel	/dev/accel/accel_controlD0	yes
hpu	0, HL-225, 768 MiB, 98304 MiB
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
end
"""
TEXTS = {"cuda": CUDA, "gaudi": GAUDI, "cpu": CPU, "router": CPU}
TARGETS = {
    "cuda": Target(
        "cuda-node",
        platforms=frozenset({"cuda"}),
        announced=("192.0.2.10",),
        ports={8100: "prefill-0 api", 5600: "prefill-0 side_channel"},
        devices=("mlx5_0:1",),
        model="/models/one",
        engines=1,
    ),
    "cpu": Target("local", platforms=frozenset({"cpu"}), announced=("127.0.0.1",), engines=2),
    "router": Target("proxy-node", platforms=frozenset({"router"}), ports={8000: "router api"}),
}
TARGETS["gaudi"] = replace(
    TARGETS["cuda"], name="gaudi-node", platforms=frozenset({"gaudi"}), announced=("192.0.2.20",)
)


def node(kind: str, *edits: tuple[str, str], **target: Any) -> Node:
    """A healthy host of a kind, with texts of its facts replaced and its target changed."""
    text = TEXTS[kind]
    for old, new in edits:
        assert old in text, f"nothing to change: {old}"
        text = text.replace(old, new)
    return Node(replace(TARGETS[kind], **target), facts.parse(text), CHECKS.limits)


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

    def run(self, argv: Any, *, timeout_s: float = 60.0) -> Completed:
        del timeout_s
        self.asked.append(tuple(argv))
        return Completed(tuple(argv), self.code, self.out, self.err)


Case = tuple[str, Callable[[], Any], str]
PORT = "port\tmlx5_0\t1\t4: ACTIVE\tEthernet"
ROUTABLE = "gid\tmlx5_0\t1\t3\t0000:0000:0000:0000:0000:ffff:c000:020a\tRoCE v2\tens1\n"
SHELL = "memlock\tshell\tunlimited\t0000000000000000\n"
LOW = "memlock\tshell\t65536\t0000000000000000\n"
ENGINE = "memlock\t4711\t65536\t0000000000000000\n"
PEERMEM = "module\tnvidia_peermem\n"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64"
GPU = "gpu\t0, NVIDIA H100 80GB HBM3, 1 MiB, 81559 MiB\n"
HPU = "hpu\t0, HL-225, 768 MiB, 98304 MiB\n"
CARD = "accel\t/dev/accel/accel0\tyes\n"
CONTROL = "accel\t/dev/accel/accel_controlD0\tyes\n"
INFINIBAND = (PORT, PORT.replace("Ethernet", "InfiniBand"))
SAID = "KV cache postprocess on save is enabled"
RDMA = "UCX  INFO  ucp_context_0 inter-node cfg#1 rma(rc_mlx5/mlx5_0:1) am(rc_mlx5/mlx5_0:1)\n"
TCP = "UCX  INFO  ep_cfg[2]: rma(tcp/ens1) am(tcp/ens1)\n"


def one(kind: str, *edits: tuple[str, str], **target: Any) -> Callable[[], list[Result]]:
    return lambda: judge.node(node(kind, *edits, **target), CHECKS)


def two(*edits: tuple[str, str], kind: str = "gaudi") -> Callable[[], list[Result]]:
    return lambda: judge.pair(node("cuda"), node(kind, *edits), CHECKS)


def live(words: str = "case1", **changes: Any) -> Callable[[], list[Result]]:
    return lambda: judge.topology(running(words, **changes), CHECKS)


def ill() -> list[Result]:
    return judge.topology(replace(running(), ill={"decode-0": "dead"}), CHECKS)


def node_case(check: str, expected: str, kind: str, *edits: tuple[str, str], **target: Any) -> Any:
    return check, one(kind, *edits, **target), expected


CASES: list[Case] = [
    node_case("T2-09-net-devices", "PASS", "cuda"),
    node_case("T2-09-net-devices", "PASS", "gaudi", devices=()),
    node_case("T2-09-net-devices", "FAIL", "cuda", devices=("mxl5_0:1",)),
    node_case("T2-09-net-devices", "FAIL", "cuda", devices=("mlx5_1:1",)),
    node_case("T2-09-net-devices", "FAIL", "cuda", devices=("ens1",)),
    node_case("T2-09-net-devices", "FAIL", "cuda", ("4: ACTIVE", "1: DOWN"), devices=()),
    node_case("T2-09-net-devices", "FAIL", "cuda", ("port\t", "prot\t")),
    node_case("T2-09-net-devices", "SKIP", "cpu"),
    node_case("T2-10-verbs-devices", "PASS", "cuda"),
    node_case("T2-10-verbs-devices", "FAIL", "cuda", ("uverbs0\tyes", "uverbs0\tno")),
    node_case("T2-10-verbs-devices", "FAIL", "gaudi", ("verbs\t/dev/infiniband/uverbs0\tyes\n", "")),
    node_case("T2-10-verbs-devices", "SKIP", "cpu"),
    node_case("T2-11-memlock", "PASS", "cuda"),
    node_case("T2-11-memlock", "PASS", "cuda", (SHELL, LOW.replace("0000000000000000", "000001ffffffffff"))),
    node_case("T2-11-memlock", "FAIL", "cuda", (SHELL, LOW)),
    node_case("T2-11-memlock", "WARN", "cuda", (SHELL, LOW), docker=True),
    node_case("T2-11-memlock", "FAIL", "cuda", (SHELL, SHELL + ENGINE)),
    node_case("T2-11-memlock", "PASS", "cuda", (SHELL, LOW + ENGINE.replace("65536", "unlimited"))),
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
    node_case("T2-16-side-channel-address", "PASS", "cuda", announced=("fd00::2",)),
    node_case("T2-16-side-channel-address", "FAIL", "cuda", announced=("198.51.100.7",)),
    node_case("T2-16-side-channel-address", "SKIP", "cuda", announced=("node.example",)),
    node_case("T2-18-ports-free", "PASS", "cuda"),
    node_case("T2-18-ports-free", "FAIL", "cuda", ("0100007F:A087", "00000000:1FA4")),
    node_case("T2-18-ports-free", "WARN", "cuda", ("sockets", "stockings")),
    node_case("T2-18-ports-free", "SKIP", "cuda", ("0100007F:A087", "00000000:1FA4"), serves=True),
    node_case("T2-18-ports-free", "PASS", "router"),
    node_case("T2-35-accelerator-free", "PASS", "cuda"),
    node_case("T2-35-accelerator-free", "PASS", "gaudi"),
    node_case("T2-35-accelerator-free", "FAIL", "cuda", (GPU, GPU + "app\t4711, python, 512 MiB\n")),
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
    ("T4-31-kv-moved", live(bytes=None, transfers=10), "PASS"),
    ("T4-31-kv-moved", live(bytes=0), "FAIL"),
    ("T4-31-kv-moved", live(failed_transfers=1), "FAIL"),
    ("T4-31-kv-moved", live(bytes=None), "WARN"),
    ("T4-31-kv-moved", live(bytes=0, requests=0), "SKIP"),
    ("T4-31-kv-moved", live(bytes=0, prompt_tokens=40), "SKIP"),
    ("T4-32-short-prompts", live(), "PASS"),
    ("T4-32-short-prompts", live(prompt_tokens=1500), "WARN"),
    ("T4-32-short-prompts", live(requests=None), "SKIP"),
    ("T4-34-roles", live(), "PASS"),
    ("T4-34-roles", ill, "FAIL"),
]
HEALTHY = [one("cuda"), one("gaudi"), one("router"), two(), live(f"case1 {HOSTS}")]


def named(case: Case) -> str:
    return f"{case[0]}-{case[2]}"


@pytest.mark.parametrize(("check", "look", "expected"), CASES, ids=map(named, CASES))
def test_a_check_says(check: str, look: Callable[[], list[Result]], expected: str) -> None:
    found = {result.check: result for result in look()}[check]
    assert found.status == expected, found.text
    assert found.text
    assert (found.mend is not None) == (expected in ("FAIL", "WARN"))


def test_every_check_is_seen_from_all_sides() -> None:
    seen: dict[str, set[str]] = {}
    for check, _, expected in CASES:
        seen.setdefault(check, set()).add("bad" if expected in ("FAIL", "WARN") else expected)
    # A host always answers or not, and a role runs or not: there is nothing to skip.
    lacking = {"T2-50-host-answers": {"PASS"}, "T4-34-roles": {"PASS", "bad"}}
    assert seen == {name: lacking.get(name, {"PASS", "bad", "SKIP"}) for name in CHECKS.checks}


def test_code_and_data_name_the_same_checks() -> None:
    assert {*NODE, *PAIR, *TOPOLOGY} == set(CHECKS.checks)


@pytest.mark.parametrize("look", HEALTHY)
def test_healthy_hosts_and_topologies_have_nothing_wrong(look: Callable[[], list[Result]]) -> None:
    assert not [result for result in look() if result.status in ("FAIL", "WARN")]


# Faults that have one consequence; a port that is down, say, has more than one.
ALONE = [case for case in CASES if case[2] in ("FAIL", "WARN") and case[0][:2] in ("T2", "T3")]


@pytest.mark.parametrize(("check", "look", "expected"), ALONE, ids=map(named, ALONE))
def test_a_fault_turns_its_own_check_only(
    check: str, look: Callable[[], list[Result]], expected: str
) -> None:
    assert [(one.check, one.status) for one in look() if one.mend] == [(check, expected)]


def test_a_host_that_does_not_answer_fails_once_and_passes_nothing() -> None:
    silent = Canned("", 255, "ssh: connect to host 192.0.2.10 port 22: Connection timed out")
    report = doctor.examine([TARGETS["cuda"]], CHECKS, reach=lambda _: silent)
    said = {result.check: result.status for result in report.results}
    assert said.pop("T2-50-host-answers") == "FAIL"
    assert set(said.values()) == {"SKIP"}
    assert not report.ok
    assert "timed out" in report.to_json()


def test_a_probe_that_ends_early_is_not_believed() -> None:
    assert facts.read(Canned(CUDA.removesuffix("end\n"))).trouble == "the probe ended early (exit status 0)"


def test_output_that_makes_no_sense_is_trouble_and_no_traceback() -> None:
    found = facts.read(Canned(CUDA.replace("0000:0000:0000:0000:0000:ffff:c000:020a", "zzzz")))
    assert "not understood" in (found.trouble or "")


def test_hosts_of_a_plan() -> None:
    found = targets.of_plan(plan_of(f"case1 {HOSTS}"), serves=False)
    assert [(one.name, one.ssh, one.platforms) for one in found] == [
        ("cuda-node", "root@192.0.2.10", {"cuda"}),
        ("gaudi-node", "root@192.0.2.20", {"gaudi"}),
        ("proxy-node", "root@192.0.2.30", {"router"}),
    ]
    assert found[0].announced == ("192.0.2.10",)
    assert found[1].ports == {8200: "decode-0 api", 5600: "decode-0 side_channel"}


def test_a_plan_on_hosts_is_examined_whole() -> None:
    plan = plan_of(f"case1 {HOSTS}")
    texts = {"root@192.0.2.10": CUDA, "root@192.0.2.20": GAUDI, "root@192.0.2.30": CPU}
    asked = {target.name: Canned(texts[target.ssh or ""]) for target in targets.of_plan(plan, serves=False)}
    report = doctor.examine(
        targets.of_plan(plan, serves=False), CHECKS, plan, reach=lambda one: asked[one.name]
    )
    assert report.ok
    assert [len(reader.asked) for reader in asked.values()] == [1, 1, 1]
    assert "cuda-node and gaudi-node" in {result.place for result in report.results}
    assert json.loads(report.to_json())["ok"] is True


def test_readers_wrap_what_they_run() -> None:
    inner = Canned("")
    SshRunner("root@node", inner).run(["sh", "-c", "echo 'a b'", ""])
    ContainerRunner("prefill-0", inner).run(["sh", "-c", "true"])
    assert inner.asked[0][:3] == ("ssh", "-o", "BatchMode=yes")
    assert inner.asked[0][-3:-1] == ("root@node", "--")
    assert inner.asked[0][-1] == """sh -c 'echo '"'"'a b'"'"'' ''"""
    assert inner.asked[1] == ("docker", "exec", "prefill-0", "sh", "-c", "true")


def test_the_page_is_current_and_names_every_check() -> None:
    page = (ROOT / pages.PAGE).read_text()
    assert pages.filled(page, CHECKS) == page, "`nox -s schema` writes it anew"
    assert all(f"**{name}**" in page for name in CHECKS.checks)


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(BadInput, match="markers"):
        pages.filled("# Troubleshooting\n", CHECKS)


@pytest.fixture
def quiet(tmp_path: Path) -> Context:
    return Context(root=ROOT, console=Console(file=io.StringIO()), state_dir=tmp_path)


def test_the_verb_on_this_machine(quiet: Context, capsys: pytest.CaptureFixture[str]) -> None:
    code = command.run(["--json"], lambda words: plan_of(" ".join(words)), quiet)
    said = json.loads(capsys.readouterr().out)
    assert code == (0 if said["ok"] else 1)
    assert {one["place"] for one in said["results"]} == {"this machine"}


def test_the_verb_names_what_a_standin_does_not_need(quiet: Context) -> None:
    command.run(["case1"], lambda words: plan_of(" ".join(words)), quiet)
    said = quiet.console.file.getvalue()  # type: ignore[attr-defined]
    assert "T2-10-verbs-devices" in said
    assert "a stand-in does not need it" in said


def test_a_container_and_a_case_do_not_go_together(quiet: Context) -> None:
    with pytest.raises(BadInput, match="container="):
        command.run(["case1", "container=prefill-0"], lambda words: plan_of(" ".join(words)), quiet)


def test_a_recorded_topology_that_is_dead_fails(quiet: Context, tmp_path: Path) -> None:
    plan = plan_of("case1 prefill_port=21101 decode_port=21102 port=21103")
    (tmp_path / "decode-0.log").write_text("WARNING Potentially invalid KV blocks\n")
    roles = [RoleState(name=role.name, log=tmp_path / f"{role.name}.log") for role in plan.roles]
    dead = Topology(
        id="one",
        phase="up",
        boot_id="",
        fingerprint=plan.fingerprint(),
        created=datetime.now(UTC),
        plan=plan,
        roles=roles,
    )
    save(dead, tmp_path)
    report = command.hosts(None, quiet)
    said = {result.check: result for result in report.results if result.place == "case1, running"}
    assert {name for name, result in said.items() if result.status == "FAIL"} == {
        "T4-30-expired",
        "T4-34-roles",
    }
    assert "decode-0: not started" in said["T4-34-roles"].text
    assert not [result for result in said.values() if result.status == "PASS"]
