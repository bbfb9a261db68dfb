"""`make case1` on other hosts: the doctor looks first, and a FAIL stops before anything starts."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest
from doctor_hosts import HOSTS, reported
from doctor_texts import CPU, CUDA, GAUDI, MADE, NODE_RDMA

from heteropd.cli.main import main
from heteropd.containers import ssh_tunnel
from heteropd.errors import EXIT_BAD_INPUT, EXIT_FAILED
from heteropd.system import Completed, LocalRunner

DOWN = CUDA.replace("4: ACTIVE", "1: DOWN")


class Hosts:
    """Three hosts behind the seam that runs commands; nothing else can be started."""

    def __init__(self, cuda: str) -> None:
        self.texts = {"root@192.0.2.10": cuda, "root@192.0.2.20": GAUDI, "root@192.0.2.30": CPU}
        self.asked: list[tuple[str, ...]] = []
        self.started: list[str] = []

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        self.asked.append(tuple(argv))
        if "heteropd-probe" in argv[-1] and "docker run" in argv[-1]:
            return reported(MADE, NODE_RDMA)
        return Completed(tuple(argv), 0, self.texts[argv[-3]], "")

    def start(self, argv: Sequence[str], **_: object) -> NoReturn:
        self.started.append(argv[0])
        raise OSError("nothing may be started here")


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    found = Hosts(CUDA)
    ssh_tunnel.close()  # it remembers for a while who did not answer
    monkeypatch.setenv("HETEROPD_SSH_CONFIG", "")  # and taken back afterwards
    monkeypatch.setattr(LocalRunner, "run", lambda _, argv, **more: found.run(argv, **more))
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda _, argv, **more: found.start(argv, **more))
    return found


def test_a_fail_stops_and_nothing_is_started(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.texts["root@192.0.2.10"] = DOWN
    assert main(["run", "case1", HOSTS]) == EXIT_FAILED
    said = capsys.readouterr()
    assert "T2-09-net-devices" in said.out
    assert "doctor=off" in said.err
    assert set(hosts.started) <= {"ssh"}  # the pair's programs, on the hosts


def test_where_json_is_asked_for_nothing_else_is_on_stdout(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.texts["root@192.0.2.10"] = DOWN
    assert main(["drill", "router-killed", "case=case1", HOSTS, "yes=1", "--json"]) == EXIT_FAILED
    said = capsys.readouterr()
    assert (said.out, "T2-09-net-devices" in said.err) == ("", True)


@pytest.mark.parametrize("verb", ["run", "up"])
@pytest.mark.parametrize("word", ["dry_run=1", "--dry-run"])
def test_a_dry_run_says_what_goes_where_and_asks_nobody(
    hosts: Hosts, capsys: pytest.CaptureFixture[str], verb: str, word: str
) -> None:
    assert main([verb, "case1", HOSTS, word]) == 0
    said = capsys.readouterr().out
    for address in ("10", "20", "30"):
        assert f"docker -H ssh://root@192.0.2.{address} run " in said
    assert "export VLLM_NIXL_SIDE_CHANNEL_HOST=192.0.2.20" in said
    assert (hosts.asked, hosts.started) == ([], [])


def test_without_a_fail_it_goes_on(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "case1", HOSTS]) == EXIT_BAD_INPUT
    assert "ssh cannot be started" in capsys.readouterr().err  # what forwards an engine's socket
    assert hosts.asked


@pytest.mark.parametrize("words", [["case1", HOSTS, "doctor=off"], ["case1", HOSTS, "--doctor", "off"]])
def test_it_can_be_left_out(hosts: Hosts, words: list[str]) -> None:
    assert main(["run", *words]) == EXIT_BAD_INPUT
    assert (hosts.asked, hosts.started) == ([], ["ssh"])


@pytest.mark.parametrize(
    ("word", "problem"), [("doctor=maybe", "neither on nor off"), ("ssh_config=/no", "is not a file")]
)
def test_its_options_are_judged(hosts: Hosts, word: str, problem: str, capsys: Any) -> None:
    assert main(["run", "case1", HOSTS, word]) == EXIT_BAD_INPUT
    assert problem in capsys.readouterr().err
    assert not hosts.asked


def test_the_ssh_configuration_is_handed_on(hosts: Hosts, tmp_path: Any) -> None:
    (tmp_path / "config").write_text("")
    main(["run", "case1", HOSTS, f"ssh_config={tmp_path / 'config'}"])
    assert {argv[:3] for argv in hosts.asked} == {("ssh", "-F", str(tmp_path / "config"))}
