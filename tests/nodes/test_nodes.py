"""Both cases across three hosts over ssh, as a user runs them, and what happens when hosts cannot be reached.

The hosts share this machine's processor and disk; networks, ssh daemons and container engines are their own.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from e2e_kit import ROOT, Kit, kit
from lab_nodes.lab import Lab

from heteropd.config.env import load_hosts
from labs.apt import must

_BYTES = re.compile(r"^vllm:nixl_bytes_transferred_sum\{.*\} (\S+)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def as_found(nodes: Lab) -> Iterator[None]:
    """Whatever a test does, no container is left on any host."""
    yield
    left = {name: nodes.on(name, "docker", "ps", "--all", "--quiet") for name in nodes.hosts}
    assert left == dict.fromkeys(nodes.hosts, "")


@pytest.mark.parametrize(
    ("case", "decode", "file"), [("case1", "gaudi-node", "hosts_file"), ("case2", "cuda-node", "each_file")]
)
def test_a_case_passes_across_hosts(nodes: Lab, case: str, decode: str, file: str) -> None:
    """PASS, its KV crossed the lab's network, and its hosts are as they were but for images and the model."""
    hosts_file: Path = getattr(nodes, file)
    volumes = nodes.on(decode, "docker", "volume", "ls", "--quiet")
    before = nodes.hosts[decode].received()
    with kit() as one:
        done = one.run("run", case, f"hosts={hosts_file}", timeout_s=2000)
        assert done.returncode == 0, done.stdout + done.stderr
        report = one.report()
        assert (report["passed"], report["standin"]) == (True, True)
        assert {probe["outcome"] for probe in report["probes"]} == {"equal"}
        url = next(role.url for role in one.state_of_plan().roles if role.role == "decode")
        counted = _BYTES.search(httpx.get(f"{url}/metrics", trust_env=False).text)
        moved = float(counted[1]) if counted else 0.0
        assert 1e6 < moved < nodes.hosts[decode].received() - before
        again = one.run("run", case, f"hosts={hosts_file}", timeout_s=900)
        assert "is running already, unchanged" in again.stdout, again.stdout + again.stderr
        _another_is_refused(hosts_file, case)
        assert one.status()["state"] == "up"
        _seen_from_another_checkout(one, hosts_file, case)
    left = nodes.on(decode, "docker", "volume", "ls", "--quiet")
    assert set(left.split()) - set(volumes.split()) <= {"heteropd-model-smollm2-135m-instruct-0.1.2-float32"}


def _another_is_refused(hosts_file: Path, case: str) -> None:
    """Somebody else's start on the same hosts: the doctor names the ports, and nothing is started."""
    with kit() as other:
        done = other.run("run", case, f"hosts={hosts_file}")
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(r"FAIL +T2-18-ports-free", done.stdout), done.stdout
        assert other.status()["state"] == "nothing"


def _seen_from_another_checkout(one: Kit, hosts_file: Path, case: str) -> None:
    """The operator's machine is lost: with the hosts file alone, the topology is found, read and ended."""
    with kit() as other:
        where = f"hosts={hosts_file}"
        assert "nothing is running" in other.run("status").stdout
        assert f"found {case} on the hosts" in other.run("status", where).stdout
        assert other.status()["state"] == "up"
        assert "Router ready" in other.run("logs", where, "role=router", "tail=400").stdout
        ended = other.run("down", where)
        assert (ended.returncode, "3 containers removed" in ended.stdout) == (0, True), ended.stdout
    assert one.status()["state"] == "broken"
    assert one.shared_memory() == []


def test_a_real_engine_without_its_card_is_refused(nodes: Lab) -> None:
    """One host is real and the other a stand-in: the doctor wants a card of the first alone; without the
    doctor one line says that its image is missing. Neither starts anything."""
    with kit() as one:
        done = one.run("run", "case1", f"hosts={nodes.mixed_file}")
        assert (done.returncode, "so nothing was started" in done.stderr) == (1, True), done.stderr
        without = re.findall(r"FAIL +T2-51-accelerator-answers \((\S+)\)", done.stdout)
        assert without == ["cuda-node"], done.stdout
        done = one.run("run", "case1", f"hosts={nodes.mixed_file}", "doctor=off")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert re.search(r"'heteropd/cuda:\S+' *: is not on the Docker host", done.stderr), done.stderr
        assert one.status()["state"] == "nothing"


def test_a_hosts_file_is_written_from_what_the_hosts_say(nodes: Lab, tmp_path: Path) -> None:
    """The same addresses and roles as the lab's own file; without a host's answer the file stays."""
    file = tmp_path / "mine.yaml"
    addresses = [host.address for host in nodes.hosts.values()]
    with kit() as one:
        words = ("hosts", "init", f"to={file}", "standin=1", *(f"root@{address}" for address in addresses))
        done = one.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        found = load_hosts(file, ROOT)
        assert [host.address for host in found.hosts.values()] == addresses
        assert [len(names) for names in found.platforms.values()] == [1, 1]
        assert (found.router, found.standin) == (list(found.hosts)[2], True)
        before = file.read_text()
        with _cable_out(nodes, "proxy-node"):
            done = one.run(*words, "--force")
        assert (done.returncode, "1 of 3 nodes do not answer" in done.stderr) == (1, True), done.stderr
        assert file.read_text() == before


def test_a_closed_port_is_found_before_anything_starts(nodes: Lab) -> None:
    """A firewall on one host's side channel: the doctor names the direction, and nothing is started."""
    rule = ["INPUT", "-p", "tcp", "--dport", "5600", "-j", "DROP"]
    with kit() as one, _rule(nodes, "gaudi-node", rule):
        done = one.run("run", "case1", f"hosts={nodes.hosts_file}")
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(r"FAIL +T3-16-side-channel", done.stdout), done.stdout
        assert "doctor=off" in done.stderr
        assert one.status()["state"] == "nothing"


def test_a_host_that_is_away_is_said_in_time(nodes: Lab) -> None:
    """Its cable is out: the doctor says so; without it, the bring-up does. Neither starts anything."""
    with kit() as one, _cable_out(nodes, "gaudi-node"):
        began = time.monotonic()
        done = one.run("run", "case1", f"hosts={nodes.hosts_file}")
        assert (done.returncode, "T2-50-host-answers" in done.stdout) == (1, True), done.stdout
        done = one.run("run", "case1", f"hosts={nodes.hosts_file}", "doctor=off")
        assert (done.returncode, "does not answer over ssh" in done.stderr) == (2, True), done.stderr
        assert time.monotonic() - began < 300


def test_ssh_is_lost_during_a_bring_up(nodes: Lab) -> None:
    """Its host is named, not called dead; the rest is ended at once, and the host's part when it is back."""
    where = f"hosts={nodes.hosts_file}"
    with kit() as one:
        with _started(one, "up", "case1", where, "doctor=off") as process:
            _until(lambda: bool(nodes.on("gaudi-node", "docker", "ps", "--quiet")), 600)
            with _rule(nodes, "gaudi-node", ["INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP"]):
                began = time.monotonic()
                out, err = process.communicate(timeout=600)
                assert (process.returncode, "gaudi-node was lost" in err) == (1, True), out + err
                assert "may run on until `make down`" in " ".join(out.split()), out
                assert time.monotonic() - began < 240
                assert nodes.on("cuda-node", "docker", "ps", "--all", "--quiet") == ""
                assert {role["state"] for role in one.status()["roles"]} >= {"not reached"}
                ended = one.run("down")
                assert (ended.returncode, "no answer" in ended.stdout) == (1, True), ended.stdout
        assert nodes.on("gaudi-node", "docker", "ps", "--quiet")
        ended = one.run("down")
        assert (ended.returncode, "1 containers removed" in ended.stdout) == (0, True), ended.stdout
        assert one.status()["state"] == "nothing"


def test_drills_hold_across_hosts(nodes: Lab) -> None:
    """What is promised for a network that is cut or slow, and for containers of other hosts."""
    names = ["router-killed", "partition", "slow-link"]
    with kit() as one:
        words = ("drill", *names, "case=case1", f"hosts={nodes.hosts_file}", "yes=1", "--json")
        done = one.run(*words, timeout_s=2000)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {found["name"]: found["status"] for found in json.loads(done.stdout)} == dict.fromkeys(
            names, "held"
        )


def test_a_kit_that_is_killed_leaves_nothing(nodes: Lab) -> None:
    """kill -9 during the bring-up: its guard ends the containers on all hosts (as_found looks)."""
    with kit() as one:
        with _started(one, "up", "case1", f"hosts={nodes.hosts_file}", "doctor=off") as process:
            _until(lambda: all(nodes.on(name, "docker", "ps", "--quiet") for name in nodes.hosts), 600)
            process.send_signal(signal.SIGKILL)
        _until(lambda: not any(nodes.on(name, "docker", "ps", "-a", "--quiet") for name in nodes.hosts), 120)


def _started(one: Kit, *words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "heteropd", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=ROOT, env=one.environment, stdout=pipe, stderr=pipe, text=True)


@contextmanager
def _rule(nodes: Lab, host: str, rule: list[str]) -> Iterator[None]:
    inside = ["nsenter", f"--net=/run/netns/{nodes.hosts[host].name}", "iptables"]
    must([*inside, "-I", *rule])
    try:
        yield
    finally:
        must([*inside, "-D", *rule])


@contextmanager
def _cable_out(nodes: Lab, host: str) -> Iterator[None]:
    must(["ip", "link", "set", nodes.hosts[host].link, "down"])
    try:
        yield
    finally:
        must(["ip", "link", "set", nodes.hosts[host].link, "up"])


def _until(reached: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < deadline, f"not within {limit_s:g} s"
        time.sleep(1)
