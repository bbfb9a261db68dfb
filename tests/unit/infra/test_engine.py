"""An engine's processes as they were read from a real one, and what is then said to be wrong with them."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from heteropd.config import yamlfile
from heteropd.config.checks import InfraFacts
from heteropd.system import Completed, LocalRunner
from infra_facts import judge, processes
from infra_facts.processes import ProcessTree

ROOT = Path(__file__).parents[3]
FACTS = yamlfile.load(InfraFacts, ROOT / "env" / "infra.yaml", ROOT)
SITE = "/srv/kit/.nox/engine-cpu/lib/python3.11/site-packages"
# vLLM 0.32 on a CPU, prefill of case 1: the API server, multiprocessing's tracker, the core, its worker.
ENGINE = f"""\
leader	20667
argument	/srv/kit/.nox/engine-cpu/bin/python
argument	-m
argument	vllm.entrypoints.openai.api_server
argument	--model
argument	/srv/models/SmolLM2-135M-Instruct-0.1.2-float32
argument	--port
argument	18110
process	21134	VLLM::EngineCor
memlock	21134	8388608	000001fffeffffff
environment	21134	read
variable	21134	VLLM_KV_CACHE_LAYOUT	HND
variable	21134	UCX_TLS	tcp,sm,self
maps	21134	read
library	21134	{SITE}/.nixl_cu12.mesonpy.libs/libnixl.so
sockets	21134	read
listen	21134	0100007F:3CFA
process	21133	python
memlock	21133	8388608	000001fffeffffff
environment	21133	read
variable	21133	UCX_TLS	tcp,sm,self
maps	21133	read
sockets	21133	read
process	21311	VLLM::Worker
memlock	21311	8388608	000001fffeffffff
environment	21311	read
variable	21311	VLLM_KV_CACHE_LAYOUT	HND
variable	21311	UCX_TLS	tcp,sm,self
maps	21311	read
library	21311	{SITE}/nixl_cu12.libs/libibverbs-1de1263b.so.1.14.48.0
library	21311	{SITE}/nixl_cu12.libs/libucp-b39b3ed9.so.0.0.0
library	21311	{SITE}/nixl_cu12.libs/libucs-14c218c5.so.0.0.0
library	21311	{SITE}/nixl_cu12.libs/libuct-1141f529.so.0.0.0
library	21311	{SITE}/.nixl_cu12.mesonpy.libs/libnixl.so
sockets	21311	read
listen	21311	0100007F:9773
process	20667	python
memlock	20667	8388608	000001fffeffffff
environment	20667	read
variable	20667	VLLM_KV_CACHE_LAYOUT	HND
variable	20667	UCX_TLS	tcp,sm,self
maps	20667	read
library	20667	{SITE}/.nixl_cu12.mesonpy.libs/libnixl.so
sockets	20667	read
listen	20667	0100007F:46BE
end
"""
# The same engine, looked at by another user than root or its own.
FOREIGN = """\
leader	20667
argument	/srv/kit/.nox/engine-cpu/bin/python
process	20667	python
memlock	20667	8388608	000001fffeffffff
process	21311	VLLM::Worker
memlock	21311	8388608	000001fffeffffff
end
"""
# After `prlimit --memlock=65536`, without CAP_IPC_LOCK.
LOW = [("8388608	000001fffeffffff", "65536	0000000000000000")]
PLANNED = {"VLLM_KV_CACHE_LAYOUT": "HND", "UCX_TLS": "tcp,sm,self"}


def engine(*changes: tuple[str, str], text: str = ENGINE) -> ProcessTree:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return processes.parse(text)


def test_an_engine_is_read_with_its_descendants() -> None:
    tree = engine()
    assert (tree.leader, tree.first.name, len(tree.processes)) == ("20667", "python", 4)
    assert [one.pid for one in tree.loading("libucp")] == ["21311"]
    assert [one.pid for one in judge.transferring(tree)] == ["20667", "21311"]
    assert tree.listening(18110) == {"127.0.0.1"}
    assert tree.listening(15610) == {"127.0.0.1"}, "the core listens, not the first process"
    assert tree.listening(1) == set()


@pytest.mark.parametrize(
    ("variables", "left_out"),
    [
        ({}, None),
        ({"no_proxy": "192.0.2.10"}, None),
        ({"http_proxy": "set"}, "192.0.2.10, 192.0.2.20"),
        ({"HTTP_PROXY": "set", "no_proxy": "localhost,192.0.2.10"}, "192.0.2.20"),
        ({"all_proxy": "set", "NO_PROXY": "192.0.2.10, 192.0.2.20"}, None),
        ({"https_proxy": "set", "no_proxy": "*"}, None),
        ({"http_proxy": "set", "no_proxy": "192.0.2.0/24"}, "192.0.2.10, 192.0.2.20"),
        ({"http_proxy": ""}, None),
    ],
)
def test_a_proxy_needs_every_peer_exempt(variables: dict[str, str], left_out: str | None) -> None:
    tree = processes.ProcessTree(
        leader="7", processes=(processes.Process("7", "router", variables=variables),)
    )
    lines = list(judge.proxied(tree, ["192.0.2.10", "192.0.2.20", "192.0.2.10"]))
    assert [line.rpartition("does not name ")[2] for line in lines] == ([left_out] if left_out else [])


def test_a_library_is_not_taken_for_another() -> None:
    tree = engine(
        (f"{SITE}/nixl_cu12.libs/libuct-1141f529.so.0.0.0", f"{SITE}/nixl_cu12.libs/ucx/libuct_ib.so.0")
    )
    assert tree.loading("libuct") == []


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("0100007F:1F90", "127.0.0.1", 8080),
        ("020200C0:C787", "192.0.2.2", 51079),
        ("00000000000000000000000000000000:46BE", "::", 18110),
        ("000080FE00000000FFFE0A0002C90202:0050", "fe80::a:feff:202:c902", 80),
    ],
)
def test_sockets_of_the_kernels_table(text: str, address: str, port: int) -> None:
    assert processes.socket(text) == (str(ipaddress.ip_address(address)), port)


def test_a_sound_engine_has_nothing_wrong() -> None:
    tree = engine()
    assert list(judge.environment(tree, PLANNED)) == []
    assert list(judge.one_copy(tree, FACTS.libraries)) == []
    assert list(judge.memlock(tree)) == []
    assert list(judge.side_channel(tree, "127.0.0.1", 15610)) == []


def test_environment_that_differs() -> None:
    other = engine(("21311	UCX_TLS	tcp,sm,self", "21311	UCX_TLS	all"))
    assert list(judge.environment(other, PLANNED)) == [
        "UCX_TLS: 'all' in pid 21311 (VLLM::Worker), 'tcp,sm,self' in the plan"
    ]
    absent = list(judge.environment(engine(), PLANNED | {"UCX_NET_DEVICES": "mlx5_0:1"}))
    assert absent[0] == "UCX_NET_DEVICES: not set in pid 20667 (python), 'mlx5_0:1' in the plan"
    assert len(absent) == 2


def test_environment_with_a_place_of_whoever_starts() -> None:
    tree = engine()
    assert list(judge.environment(tree, {"UCX_TLS": "tcp,${MORE}"})) == []
    assert len(list(judge.environment(tree, {"UCX_TLS": "rc,${MORE}"}))) == 2


@pytest.mark.parametrize(
    ("planned", "holds"),
    [
        ("/opt/ucx/lib", True),
        ("/opt/ucx/lib:${LD_LIBRARY_PATH}", True),
        ("/opt/ucx/lib:/opt/nixl/lib", True),
        ("/opt/nixl/lib:/opt/ucx/lib", False),
        ("/tmp/ucx/lib:${LD_LIBRARY_PATH}", False),
    ],
)
def test_an_engine_adds_to_lists_of_paths(planned: str, holds: bool) -> None:
    # As importing cv2 does in an engine of vLLM 0.32.
    seen = f"LD_LIBRARY_PATH	{SITE}/cv2/../../lib64:/opt/ucx/lib:/opt/nixl/lib"
    tree = engine(("UCX_TLS	tcp,sm,self", seen))
    assert (list(judge.environment(tree, {"LD_LIBRARY_PATH": planned})) == []) is holds


def test_a_childs_title_over_its_environment_hides_nothing_else() -> None:
    row = ENGINE[ENGINE.index("environment	21311") : ENGINE.index("maps	21311")]
    titled = engine((row, "environment	21311	overwritten\n"))
    assert titled.closed("variables") == []
    assert len(list(judge.environment(titled, {"UCX_TLS": "all"}))) == 1, "the first process still counts"
    first = engine(("environment	20667	read", "environment	20667	overwritten"))
    assert first.closed("variables") == ["pid 20667 (python)"]


def test_a_second_copy_is_named_with_both_paths() -> None:
    # LD_PRELOAD of a copy with a name of its own.
    row = f"library	21311	{SITE}/nixl_cu12.libs/libucp-b39b3ed9.so.0.0.0"
    twice = engine((row, f"{row}\nlibrary	21311	/opt/ucx/lib/libucp.so.0.0.0"))
    [said] = judge.one_copy(twice, FACTS.libraries)
    assert said.startswith("libucp: 2 in pid 21311 (VLLM::Worker): /opt/ucx/lib/libucp.so.0.0.0, ")


def test_an_engine_without_its_library() -> None:
    without = engine((f"library	21311	{SITE}/nixl_cu12.libs/libucp-b39b3ed9.so.0.0.0\n", ""))
    assert list(judge.one_copy(without, FACTS.libraries)) == [
        "libucp: no process of the engine has loaded it"
    ]


def test_memory_that_may_not_be_locked() -> None:
    assert list(judge.memlock(engine(*LOW))) == [
        "pid 20667 (python): may lock 64 KiB only",
        "pid 21311 (VLLM::Worker): may lock 64 KiB only",
    ]
    assert list(judge.memlock(engine(("8388608	000001fffeffffff", "unlimited	0000000000000000")))) == []


@pytest.mark.parametrize(
    ("announced", "port", "listens", "said"),
    [
        ("127.0.0.1", 15610, "00000000:3CFA", None),
        ("192.0.2.10", 15610, "00000000:3CFA", None),
        ("node-a", 15610, "0100007F:3CFA", None),
        ("192.0.2.10", 15610, "0100007F:3CFA", "announced is 192.0.2.10:15610, and it listens on 127.0.0.1"),
        ("127.0.0.1", 5600, "0100007F:3CFA", "no process of the engine listens on port 5600"),
    ],
)
def test_side_channel(announced: str, port: int, listens: str, said: str | None) -> None:
    tree = engine(("0100007F:3CFA", listens))
    assert list(judge.side_channel(tree, announced, port)) == ([said] if said else [])


def test_what_another_user_may_not_read_is_unknown_and_not_right() -> None:
    tree = engine(text=FOREIGN)
    assert tree.closed("variables") == ["pid 20667 (python)", "pid 21311 (VLLM::Worker)"]
    assert tree.closed("libraries") == tree.closed("listens") == tree.closed("variables")
    assert tree.closed("memlock") == []
    assert engine().closed("variables") == engine().closed("listens") == []


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["python", "-m", "vllm", "--model", "/srv/m", "--port", "1"], "/srv/m"),
        (["python", "/usr/bin/vllm", "serve", "/srv/m"], "/srv/m"),
        (["python", "/usr/bin/vllm", "serve", "Qwen/Qwen3-0.6B", "--port", "1"], None),
        (["python", "--model"], None),
    ],
)
def test_model_of_a_command_line(arguments: list[str], folder: str | None) -> None:
    assert judge.model(arguments) == folder


class Canned:
    """A reader with one answer; keeps what was asked."""

    def __init__(self, out: str = "", err: str = "", code: int = 0) -> None:
        self.answer, self.asked = Completed((), code, out, err), [""]

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        assert timeout_s > 0
        self.asked = list(argv)
        return self.answer


def test_only_the_plans_variables_are_asked_for() -> None:
    reader = Canned(ENGINE)
    assert processes.read(reader, 20667, 18110, ["UCX_TLS"]).trouble is None
    assert reader.asked[-4:] == ["", "20667", "18110", "UCX_TLS"]


@pytest.mark.parametrize(
    ("reader", "pid", "said"),
    [
        (
            Canned("leader	\nend\n"),
            None,
            "no process of this user listens on port 18110: it does not run here",
        ),
        (Canned("leader	\nend\n"), 7, "there is no process 7: "),
        (Canned("leader	7\n", "sh: killed", 137), 7, "could not be read: sh: killed (exit status 137)"),
        (Canned("", "", 255), 7, "could not be read: no output (exit status 255)"),
    ],
)
def test_an_engine_that_cannot_be_read_is_trouble(reader: Canned, pid: int | None, said: str) -> None:
    assert said in (processes.read(reader, pid, 18110, []).trouble or "")


def test_the_script_reads_a_real_process_and_no_other_variable() -> None:
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    )
    script += "; input()"
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        env={"UCX_TLS": "tcp", "HF_TOKEN": "secret"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        by_port = processes.read(LocalRunner(), None, port, ["UCX_TLS"])
        by_pid = processes.read(LocalRunner(), child.pid, 1, ["UCX_TLS"])
    finally:
        child.communicate("\n", timeout=30)
    assert by_port.leader == by_pid.leader == str(child.pid)
    assert by_port.first.variables == {"UCX_TLS": "tcp"}
    assert by_port.listening(port) == {"127.0.0.1"}
    assert by_port.arguments[:2] == (sys.executable, "-c")
    assert by_port.first.memlock is not None
