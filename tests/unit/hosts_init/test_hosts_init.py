"""Hosts files from what nodes said: recorded facts -> text -> load -> plan. Nobody is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from doctor_hosts import Canned

from heteropd.config.env import load_hosts
from heteropd.config.hosts import Hosts
from heteropd.config.machine import Machine
from heteropd.doctor.model import HostTarget
from heteropd.errors import BadInput, KitError
from heteropd.hosts_init import command
from heteropd.hosts_init.render import value
from plan_words import arguments, make

ROOT = Path(__file__).parents[3]
RECORDED = Path(__file__).parent / "recorded"
CUDA, GAUDI, PLAIN, MIXED = (
    (RECORDED / f"{name}.txt").read_text() for name in ("cuda_ib", "gaudi_roce", "plain", "mixed")
)
SILENT = Canned("", code=255, err="ssh: connect to host silent port 22: No route to host")


@dataclass
class Net:
    """Nodes by what ssh takes, and the file that is written."""

    file: Path
    says: dict[str, Canned] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, target: HostTarget) -> Canned:
        assert target.ssh is not None
        self.asked.append(target.ssh)
        return self.says[target.ssh]

    def run(self, *words: str) -> int:
        return command.run(command.HostsRequest(**arguments("hosts", *words)), ROOT, self)

    def init(self, *words: str, **nodes: str) -> str:
        """The file's text for nodes such as ``cuda=CUDA``, which ssh takes as root@cuda."""
        self.says |= {f"root@{name}": Canned(text) for name, text in nodes.items()}
        assert self.run(f"to={self.file}", *(f"root@{name}" for name in nodes), *words) == 0
        return self.file.read_text()

    def hosts(self) -> Hosts:
        return load_hosts(self.file, ROOT)


@pytest.fixture
def net(tmp_path: Path) -> Net:
    return Net(tmp_path / "mine.yaml")


def remarks(text: str, about: str) -> str:
    """The comment right above a line, in one line."""
    lines = text.splitlines()
    end = next(index for index, line in enumerate(lines) if line.strip().startswith(about))
    start = end
    while lines[start - 1].strip().startswith("#"):
        start -= 1
    return " ".join(line.strip().removeprefix("#").strip() for line in lines[start:end])


def test_cuda_gaudi_and_a_router_make_a_plan(net: Net) -> None:
    text = net.init(cuda=CUDA, gaudi=GAUDI, proxy=PLAIN)
    found = net.hosts()
    assert found.platforms == {"cuda": ["cuda"], "gaudi": ["gaudi"]}
    assert (found.router, found.standin, found.parameters) == ("proxy", False, {})
    cuda, gaudi, proxy = found.hosts["cuda"], found.hosts["gaudi"], found.hosts["proxy"]
    assert (cuda.address, cuda.management, cuda.ssh) == ("198.51.100.11", "10.20.4.11", "root@cuda")
    assert (cuda.devices, cuda.nics) == ([0, 1, 2, 3, 4, 5, 6, 7], ["mlx5_0:1"])
    assert (gaudi.address, gaudi.management, gaudi.nics) == ("198.51.100.21", "10.20.4.21", ["mlx5_1:1"])
    assert (proxy.address, proxy.management, proxy.devices, proxy.nics) == ("10.20.4.31", None, None, None)
    for case in ("case1", "case2"):
        plan = make([case, f"hosts={net.file}"], ROOT, Machine(cores=[0, 1]))
        assert {role.host.name for role in plan.roles} == {"cuda", "gaudi", "proxy"}
        assert not any(role.standin for role in plan.roles)
    assert "platforms: {cuda: cuda, gaudi: gaudi}" in text


def test_comments_say_why_and_what_else_there_is(net: Net) -> None:
    text = net.init(cuda=CUDA, gaudi=GAUDI, proxy=PLAIN)
    assert "ibp24s0 of mlx5_0:1, an active InfiniBand port" in remarks(text, "address: 198.51.100.11")
    assert "others: eno1 10.20.4.11, ibp64s0 198.51.101.11" in remarks(text, "address: 198.51.100.11")
    assert "172.17.0.1" not in text  # every host has that one
    assert "mlx5_1:1 ACTIVE (ibp64s0), mlx5_2:1 DOWN (ens1f1np1)" in remarks(text, "nics: ['mlx5_0:1']")
    assert "8 of NVIDIA H100 80GB HBM3" in remarks(text, "cuda:")
    assert "Docker 27.1.1" in remarks(text, "cuda:")
    about = remarks(text, "gaudi:")
    assert "8 of HL-225" in about
    assert "check: this user may not use /var/run/docker.sock" in about
    assert "check: a shell here may lock 8192 KiB" in about
    assert "check: this user cannot open /dev/infiniband/uverbs1" in remarks(text, "nics: ['mlx5_1:1']")
    assert "hbl_" not in text  # the cards' own ports carry no KV
    # The router's host needs no RDMA.
    assert remarks(text, "address: 10.20.4.31").startswith("no RDMA port is active, so this is where ssh")
    assert "check:" not in remarks(text, "proxy:")


def test_a_file_of_healthy_hosts_has_nothing_to_check(net: Net, capsys: pytest.CaptureFixture[str]) -> None:
    healthy = (
        GAUDI.replace("denied", 'there\t{"Version": "27.1.1"}')
        .replace("8388608", "unlimited")
        .replace("uverbs1\tno", "x\tyes")
    )
    net.init(cuda=CUDA, gaudi=healthy)
    assert capsys.readouterr().out.endswith("2 hosts, 0 lines to check\n")
    assert net.hosts().router is None
    text = net.init("force=1", cuda=CUDA.replace("4: ACTIVE", "1: DOWN"))
    assert "check: no RDMA port is active, so this is where ssh arrived" in remarks(text, "address")
    assert "check: no active RDMA port, so KV could go over TCP only; there are: mlx5_0:1" in text


def test_several_hosts_of_a_kind_are_a_list(net: Net) -> None:
    second = CUDA.replace("198.51.100.11", "198.51.100.12").replace("10.20.4.11", "10.20.4.12")
    text = net.init(cuda1=CUDA, cuda2=second, gaudi=GAUDI)
    assert net.hosts().platforms == {"cuda": ["cuda1", "cuda2"], "gaudi": ["gaudi"]}
    assert "platforms: {cuda: [cuda1, cuda2], gaudi: gaudi}" in text
    plan = make(["case1", f"hosts={net.file}"], ROOT, Machine(cores=[0, 1]))
    assert [role.host.name for role in plan.of("prefill")] == ["cuda1", "cuda2"]


def test_a_host_with_everything_doubtful(net: Net) -> None:
    text = net.init(odd=MIXED)
    odd = net.hosts().hosts["odd"]
    # Without `ip` there, the address is RoCE's and the other's interface is unknown; ssh came by loopback.
    assert (odd.address, odd.management, odd.nics, odd.devices) == ("198.51.100.41", None, ["rxe0:1"], None)
    assert "others: ? 192.0.2.41" in remarks(text, "address")
    about = remarks(text, "odd:")
    assert "check: the driver is loaded" in about
    assert "nvidia-smi lists no card (NVIDIA-SMI has failed" in about
    assert "check: both kinds of accelerators" in about
    assert "check: no Docker at /var/run/docker.sock" in about
    assert "check: a software RDMA device, not a card" in remarks(text, "nics")
    assert net.hosts().platforms == {"cuda": ["odd"], "gaudi": ["odd"]}


def test_stand_ins_take_hosts_without_accelerators_in_their_order(net: Net) -> None:
    nodes = {name: PLAIN.replace("10.20.4.31", f"10.20.4.{index}") for index, name in enumerate("abc", 31)}
    text = net.init("standin=1", **nodes)
    found = net.hosts()
    assert (found.standin, found.parameters) == (True, {})
    assert (found.platforms, found.router) == ({"cuda": ["a"], "gaudi": ["b"]}, "c")
    plan = make(["case1", f"hosts={net.file}"], ROOT, Machine(cores=[0, 1]))
    assert [role.host.name for role in plan.roles] == ["a", "b", "c"]
    assert (plan.runtime, all(role.standin for role in plan.engines)) == ("docker", True)
    assert "check: no GPU" not in text


@pytest.mark.parametrize(
    ("names", "words", "platforms", "router"),
    [
        ("a", "", {"cuda": ["a"], "gaudi": ["a"]}, None),
        ("ab", "", {"cuda": ["a"], "gaudi": ["b"]}, None),
        ("abc", "router=a", {"cuda": ["b"], "gaudi": ["c"]}, "a"),
        ("abc", "router=root@b", {"cuda": ["a"], "gaudi": ["c"]}, "b"),
        ("ab", "router=a", {"cuda": ["b"], "gaudi": ["b"]}, "a"),
        ("abcd", "", {"cuda": ["a"], "gaudi": ["b"]}, "c"),
    ],
)
def test_roles_of_stand_ins(
    net: Net, names: str, words: str, platforms: dict[str, list[str]], router: str | None
) -> None:
    nodes = {name: PLAIN.replace("10.20.4.31", f"10.20.4.{index}") for index, name in enumerate(names, 31)}
    text = net.init("--standin", *words.split(), **nodes)
    assert (net.hosts().platforms, net.hosts().router) == (platforms, router)
    assert ("check: nothing runs on d" in text) == (names == "abcd")


def test_a_real_card_keeps_its_platform_among_stand_ins(net: Net) -> None:
    text = net.init("standin=1", plain=PLAIN, cuda=CUDA)
    found = net.hosts()
    assert found.platforms == {"cuda": ["cuda"], "gaudi": ["plain"]}
    # A stand-in uses neither cards nor RDMA, and what it cannot use would stop it; both stay to be read.
    assert (found.hosts["cuda"].devices, found.hosts["cuda"].nics) == (None, None)
    assert "    # nics: ['mlx5_0:1']" in text
    make(["case1", f"hosts={net.file}"], ROOT, Machine(cores=[0, 1]))


def test_what_is_missing_is_said(net: Net) -> None:
    text = net.init(cuda=CUDA)
    assert "check: no Gaudi was found" in remarks(text, "platforms")
    text = net.init("--force", plain=PLAIN)
    assert "check: no GPU and no Gaudi was found" in remarks(text, "platforms")
    assert net.hosts().platforms == {}


RXE = """\
ibdev\trxe0\t/sys/devices/virtual/infiniband/rxe0\trxe
port\trxe0\t1\t4: ACTIVE\tEthernet
gid\trxe0\t1\t0\t0000:0000:0000:0000:0000:ffff:0a14:040b\tRoCE v2\teno1
"""
NO_IPOIB = [("inet\tibp24s0\t198.51.100.11\n", ""), ("address\t198.51.100.11\n", "")]
NO_IPOIB_2 = [("inet\tibp64s0\t198.51.101.11\n", ""), ("address\t198.51.101.11\n", "")]

# What the CUDA host says instead, and what follows: (edits, address, management, nics)
ADDRESSES: dict[str, tuple[list[tuple[str, str]], str, str | None, list[str] | None]] = {
    "the second rail, where the first has no address": (
        NO_IPOIB,
        "198.51.101.11",
        "10.20.4.11",
        ["mlx5_1:1"],
    ),
    "no address on InfiniBand: KV takes the port, the side channel where ssh arrived": (
        [*NO_IPOIB, *NO_IPOIB_2],
        "10.20.4.11",
        None,
        ["mlx5_0:1"],
    ),
    "all ports down": ([("4: ACTIVE", "1: DOWN")], "10.20.4.11", None, None),
    "all ports down, and ssh does not say where": (
        [("4: ACTIVE", "1: DOWN"), ("ssh\t10.20.4.11\n", "")],
        "10.20.4.11",
        None,
        None,
    ),
    "one device with two ports": (
        [
            ("port\tmlx5_0\t1\t4: ACTIVE", "port\tmlx5_0\t1\t1: DOWN"),
            ("mlx5_1\t1\t", "mlx5_0\t2\t"),
            ("ibnet\tmlx5_1\tibp64s0\t0", "ibnet\tmlx5_0\tibp64s0\t1"),
        ],
        "198.51.101.11",
        "10.20.4.11",
        ["mlx5_0:2"],
    ),
    "ssh over IPv6": (
        [("ssh\t10.20.4.11", "ssh\t2001:db8::11")],
        "198.51.100.11",
        "2001:db8::11",
        ["mlx5_0:1"],
    ),
    "ssh through a tunnel": ([("ssh\t10.20.4.11", "ssh\t::1")], "198.51.100.11", None, ["mlx5_0:1"]),
    "a software device goes last": (
        [("port\tmlx5_0", f"{RXE}port\tmlx5_0")],
        "198.51.100.11",
        "10.20.4.11",
        ["mlx5_0:1"],
    ),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses(net: Net, name: str) -> None:
    edits, address, management, nics = ADDRESSES[name]
    text = CUDA
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    net.init(cuda=text)
    host = net.hosts().hosts["cuda"]
    assert (host.address, host.management, host.nics) == (address, management, nics)


def test_what_nodes_say_cannot_leave_its_comment(net: Net) -> None:
    evil = CUDA.replace("NVIDIA H100 80GB HBM3", "x\x85standin: true\x0b\u2028router: x # \x1b[31m: {[")
    evil = evil.replace('"27.1.1"', '"27\\u001b[31m\\u202e.1"')
    net.init(cuda=evil, gaudi=GAUDI)
    assert (net.hosts().router, net.hosts().standin) == (None, False)
    assert not any(sign in net.file.read_text() for sign in "\x85\x0b\u2028\x1b\u202e")


@pytest.mark.parametrize(
    "ssh", ["root@192.0.2.10", "10e3", "null", "Node-A.Example", "_alias", "root@2001:db8::1"]
)
def test_names_survive_yaml(net: Net, ssh: str) -> None:
    net.says[ssh] = Canned(CUDA)
    assert net.run(f"nodes={ssh}", f"to={net.file}") == 0
    (host,) = net.hosts().hosts.values()
    assert host.ssh == ssh


def test_a_silent_node_is_named_and_nothing_written(net: Net) -> None:
    net.says = {"root@a": Canned(PLAIN), "root@b": SILENT, "root@c": Canned("clock\t1\nkernel\t6")}
    with pytest.raises(KitError, match=r"2 of 3 nodes .*root@b: .*No route to host.*; root@c: ") as stop:
        net.run(f"to={net.file}", "root@a", "root@b", "root@c")
    assert stop.value.exit_code == 1
    assert not net.file.exists()


def test_one_machine_under_two_names_is_refused(net: Net) -> None:
    with pytest.raises(KitError, match=r"root@a and root@b both have the address 10.20.4.31"):
        net.init(a=PLAIN, b=PLAIN)
    assert not net.file.exists()


def test_a_machine_without_an_address_is_refused(net: Net) -> None:
    lonely = "".join(line for line in PLAIN.splitlines(True) if "10.20" not in line and "fd00" not in line)
    with pytest.raises(KitError, match="root@a: has no address"):
        net.init(a=lonely)


def test_a_file_that_is_there_stays_without_force(net: Net) -> None:
    net.file.write_text("mine\n")
    with pytest.raises(BadInput, match="is there already"):
        net.init(cuda=CUDA)
    assert (net.file.read_text(), net.asked) == ("mine\n", [])
    assert "cuda" in net.init("force=1", cuda=CUDA)


def test_values_are_quoted_where_yaml_would_misread_them() -> None:
    for one in (
        "a",
        "null",
        "1e3",
        "yes",
        "a: b",
        "# x",
        "2025-01-01",
        "",
        "ü",
        5,
        None,
        [1, "2"],
        {"a": ["b"]},
    ):
        shown = value(one)
        assert "\n" not in shown
        assert yaml.safe_load(shown) == one
