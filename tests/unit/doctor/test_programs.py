"""The programs that hosts run, run here: they are sent as text, talk to each other, and leave nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doctor_hosts import engine

from heteropd.doctor import launch, nixl, programs, reach
from heteropd.doctor.model import EngineTarget
from heteropd.system import Completed

NAMES = ["nixl_node", "nixl_transfer", "rdma_ping", "side_channel"]
ONE, OTHER, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"
PYTHON = sys.executable

Ends = tuple[dict[str, Any], dict[str, Any]]


def with_python(**env: str) -> EngineTarget:
    return replace(engine("prefill-0", "cpu", ONE, 5600, **env), python=PYTHON)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ONE, 0))
        return int(probe.getsockname()[1])


@contextmanager
def listener(address: str, port: int, backlog: int = 8) -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(backlog)
        yield server


def channel(port: int, theirs: str = OTHER, mine: str = ONE) -> Ends:
    """Two sides of a side channel: the first listens on ``mine``, and tries to reach ``theirs``."""
    common = {"token": "one", "seconds": 20}
    sides = (
        {"mine": [mine, port], "theirs": [theirs, port]} | common,
        {"mine": [OTHER, port], "theirs": [mine, port]} | common,
    )
    return ended(*(launch.plain(PYTHON, "side_channel", side) for side in sides))


def ended(*argvs: Any) -> Ends:
    one, other = (nixl.report(done) for done in reach.talk(argvs[0], argvs[1], 30))
    assert one.result is not None, one.trouble
    assert other.result is not None, other.trouble
    return dict(one.result), dict(other.result)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_one_text_that_needs_nothing_of_the_kit(name: str) -> None:
    text = programs.text(name)
    compile(text, name, "exec")
    assert "heteropd.doctor" not in text
    assert len(text) < 60_000  # an argument of a program holds 128 KiB


def test_two_sides_reach_each_other() -> None:
    good = {"listening": "ours", "connected": None}
    assert channel(free_port()) == (good, good)


def test_where_an_engine_listens_connecting_is_enough() -> None:
    port = free_port()
    with listener(OTHER, port):
        one, other = channel(port)
    assert other["listening"] == "taken"
    assert one == {"listening": "ours", "connected": None}


def test_another_machine_at_the_address_is_noticed() -> None:
    port = free_port()
    with listener(THIRD, port) as somebody:
        answer = subprocess.Popen(
            [
                PYTHON,
                "-c",
                f"import socket; socket.socket(fileno={somebody.fileno()}).accept()[0].send(b'two')",
            ],
            pass_fds=[somebody.fileno()],
        )
        one, _ = channel(port, theirs=THIRD)
        answer.wait(20)
    assert one["connected"] == "somebody else answers there"


def test_nobody_listening_and_a_port_that_drops_are_told_apart() -> None:
    port = free_port()
    assert channel(port, theirs=THIRD)[0]["connected"] == "Connection refused"
    with listener(THIRD, port, backlog=0), socket.create_connection((THIRD, port)):
        began = time.monotonic()
        assert channel(port, theirs=THIRD)[0]["connected"] == "no answer within 3 s"
        assert time.monotonic() - began < 10


def test_an_address_of_another_host_cannot_be_listened_on() -> None:
    one, other = channel(free_port(), mine="192.0.2.77")
    assert one["listening"].startswith("cannot listen there")
    assert "connected" not in other


PINGPONG = """#!{python}
import socket, sys
port = int(sys.argv[sys.argv.index("-p") + 1])
if sys.argv[-2] == "-n":
    server = socket.create_server(("127.0.0.1", port))
    server.accept()
else:
    socket.create_connection((sys.argv[-1], port))
print(" ".join(sys.argv[1:]))
sys.exit({code})
"""


@pytest.mark.parametrize("code", [0, 1])
def test_an_rdma_ping_starts_the_server_first(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ibv_rc_pingpong"
    program.write_text(PINGPONG.format(python=PYTHON, code=code))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    one, other = ping()
    assert one["code"] == other["code"] == code
    assert one["out"].startswith("-d rxe0 -i 1 -p")
    assert "-g 1" in other["out"]


def test_a_host_without_the_ping_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert ping() == ({"missing": True}, {"missing": True})


def ping() -> Ends:
    asked = {"device": "rxe0", "port": 1, "gid": 1, "tcp": free_port(), "ping_seconds": 10, "seconds": 20}
    return ended(*(launch.plain(PYTHON, "rdma_ping", asked | {"server": server}) for server in (None, ONE)))


def test_a_python_without_nixl_says_so() -> None:
    argv = launch.nixl(with_python(UCX_TLS="tcp"), "nixl_node", {"seconds": 20}, log="debug")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = nixl.report(Completed(tuple(argv), done.returncode, done.stdout, done.stderr)).result
    assert found == {"error": None, "missing": "No module named 'nixl'"}


def test_what_is_started_leaves_accelerators_alone_and_expands_variables() -> None:
    env = {"UCX_TLS": "ib,rc,cuda_copy", "LD_LIBRARY_PATH": "/opt/ucx:${HOME}"}
    show = "print({name: os.environ[name] for name in ('UCX_TLS', 'UCX_MODULES', 'LD_LIBRARY_PATH')})"
    argv = launch.nixl(with_python(**env), "nixl_node", {}, log="info")
    argv[argv.index(programs.text("nixl_node"))] = f"import os; {show}"
    said = subprocess.run(argv, capture_output=True, text=True, check=True, env={"HOME": "/home/me"}).stdout
    assert json.loads(said.replace("'", '"')) == {
        "UCX_TLS": "ib,rc,cuda_copy",
        "UCX_MODULES": "^cuda,gdrcopy,gda,gdp,gaudi,rocm,ze",
        "LD_LIBRARY_PATH": "/opt/ucx:/home/me",
    }


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("cuda_copy,cuda_ipc", "cuda_copy,cuda_ipc,self"),
        ("^tcp", "^tcp"),
        ("gaudi_gdr,rc", "gaudi_gdr,rc"),
        ("", None),
    ],
)
def test_device_transports_stay_named_beside_one_that_works(given: str, left: str | None) -> None:
    assert launch.without_devices({"UCX_TLS": given} if given else {}).get("UCX_TLS") == left


def test_commands_that_do_not_end_are_ended() -> None:
    began = time.monotonic()
    one, other = reach.talk(["sleep", "30"], ["sleep", "30"], 0.3)
    assert (one.code, other.code) == (124, 124)
    assert time.monotonic() - began < 5


def test_a_command_that_is_not_there_lets_the_other_end() -> None:
    one, other = reach.talk(["/nowhere/program"], ["cat"], 20)
    assert (one.code, other.code) == (127, 0)


def test_only_lines_for_the_other_side_are_passed_on() -> None:
    one, other = reach.talk(
        ["sh", "-c", "echo '> hello'; echo kept"], ["sh", "-c", 'read line; echo "= $line"'], 20
    )
    assert (one.out, other.out) == ("kept\n", "= hello\n")


def test_what_is_said_to_one_that_has_ended_costs_nothing_of_the_rest() -> None:
    late = "sleep 0.3; for i in 1 2 3; do echo '> hello'; echo kept; done"
    one, other = reach.talk(["sh", "-c", late], ["true"], 20)
    assert (one.code, one.out, other.code) == (0, "kept\n" * 3, 0)


def run_peer(seconds: int, stdin: int) -> subprocess.Popen[bytes]:
    text = programs.text("peer").replace("_GRACE_S = 5.0", "_GRACE_S = 0.1")
    return subprocess.Popen([PYTHON, "-c", f"{text}\nPeer({seconds})\ntime.sleep(60)"], stdin=stdin)


def test_a_program_ends_soon_after_its_stdin_does() -> None:
    assert run_peer(50, subprocess.DEVNULL).wait(20) == 3


def test_a_program_ends_in_time_whatever_hangs() -> None:
    with run_peer(1, subprocess.PIPE) as child:
        assert child.wait(20) == -signal.SIGALRM
