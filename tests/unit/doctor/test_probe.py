"""The probe itself, run by sh on a folder that looks like a host's root."""

from __future__ import annotations

import http.server
import shutil
import socketserver
import threading
from pathlib import Path

import pytest

from heteropd.doctor import facts, probe
from heteropd.system import LocalRunner

FILES = {
    "sys/class/infiniband/rxe0/node_desc": "rxe",
    "sys/class/infiniband/mlx5_0/node_desc": "node-a mlx5_0",
    "sys/class/infiniband/mlx5_0/ports/1/state": "4: ACTIVE",
    "sys/class/infiniband/mlx5_0/ports/1/link_layer": "Ethernet",
    "sys/class/infiniband/mlx5_0/ports/1/gids/0": "fe80:0000:0000:0000:0202:c9ff:fe00:0001",
    "sys/class/infiniband/mlx5_0/ports/1/gids/1": "0000:0000:0000:0000:0000:ffff:c000:020a",
    "sys/class/infiniband/mlx5_0/ports/1/gids/2": "0000:0000:0000:0000:0000:0000:0000:0000",
    "sys/class/infiniband/mlx5_0/ports/1/gid_attrs/types/0": "IB/RoCE v1",
    "sys/class/infiniband/mlx5_0/ports/1/gid_attrs/types/1": "RoCE v2",
    "sys/class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/1": "ens1",
    "sys/class/infiniband/mlx5_0/device/net/ens1/dev_port": "0",
    "sys/class/infiniband/mlx5_1/ports/1/state": "4: ACTIVE",
    "sys/class/infiniband/mlx5_1/ports/1/link_layer": "InfiniBand",
    "sys/class/infiniband/mlx5_1/ports/2/state": "4: ACTIVE",
    "sys/class/infiniband/mlx5_1/ports/2/link_layer": "InfiniBand",
    "sys/class/infiniband/mlx5_1/device/net/ib0/dev_port": "0",
    "sys/class/infiniband/mlx5_1/device/net/ib1/dev_port": "1",
    "sys/class/infiniband_verbs/uverbs0/ibdev": "mlx5_0",
    "sys/module/habanalabs/version": "1.22.2-1",
    "sys/class/net/ens1/mtu": "9000",
    "sys/module/nvidia_peermem/version": "570.124.06",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06",
    "proc/net/fib_trie": "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.10\n        /32 host LOCAL",
    "proc/net/if_inet6": "fd000000000000000000000000000002 02 40 00 80 ens1",
    "proc/net/tcp": "sl local rem st\n 0: 00000000:1FA4 00000000:0000 0A\n 1: 0100007F:1FA5 0:0 01",
    "proc/self/limits": "Max locked memory         65536                65536                bytes",
    "proc/self/status": "CapEff:\t000001ffffffffff",
    "proc/4711/cmdline": "VLLM::EngineCore\0",
    "proc/4711/limits": "Max locked memory         unlimited            unlimited            bytes",
    "proc/4711/status": "CapEff:\t0000000000000000",
    "proc/4712/cmdline": "vim\0vllm.txt\0",
    "proc/sys/net/ipv4/tcp_retries2": "15\n",
    "proc/meminfo": "MemTotal: 4194304 kB\nMemAvailable:    2097152 kB",
    "dev/infiniband/uverbs0": "",
    "dev/accel/accel0": "",
    "dev/accel/accel_controlD0": "",
    "models/one/config.json": "{}",
}


def host(folder: Path) -> Path:
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n" if text else "")
    (folder / "dev/infiniband/uverbs1").mkdir()  # cannot be opened for writing, by root either
    (folder / "dev/shm").mkdir()
    fds = folder / "proc/4711/fd"
    fds.mkdir()
    (fds / "7").symlink_to("/dev/accel/accel0")
    (folder / "proc/4712/fd").mkdir()
    return folder


def test_the_probe_reads_a_host(tmp_path: Path) -> None:
    root = host(tmp_path)
    found = probe.read_facts(LocalRunner(), str(root / "models/one"), str(root))
    assert found.trouble is None
    assert found.verbs == {"/dev/infiniband/uverbs0": True, "/dev/infiniband/uverbs1": False}
    assert (found.verbs_of, found.drivers) == (
        {"/dev/infiniband/uverbs0": "mlx5_0"},
        {"habanalabs": "1.22.2-1"},
    )
    port, *infiniband = found.ports
    assert [(one.name, one.interface) for one in infiniband] == [("mlx5_1:1", "ib0"), ("mlx5_1:2", "ib1")]
    assert (port.interface, found.interfaces) == ("ens1", {"ens1": ("192.0.2.10", "fd00::2")})
    assert (port.name, port.active, port.link_layer) == ("mlx5_0:1", True, "Ethernet")
    assert [gid.index for gid in port.gids] == [0, 1]
    assert found.software == {"rxe0"}
    assert [(str(gid.address.ipv4_mapped), gid.kind, gid.interface) for gid in port.gids] == [
        ("None", "IB/RoCE v1", ""),
        ("192.0.2.10", "RoCE v2", "ens1"),
    ]
    assert found.mtus == {"ens1": 9000}
    assert (found.reached, found.docker) == (None, None)  # of a folder, nobody is asked
    assert found.addresses == {"192.0.2.10", "fd00::2"}
    assert found.listening == {0x1FA4}
    assert found.memlock == (facts.Memlock("shell", 65536, True), facts.Memlock("4711", None, False))
    assert found.modules == {"nvidia_peermem"}
    assert "Open Kernel Module" in (found.nvidia or "")
    assert found.accel == {"/dev/accel/accel0": True, "/dev/accel/accel_controlD0": True}
    assert found.holders == (("4711", "/dev/accel/accel0"),)
    assert found.memory_gib == 2.0
    assert found.shm_gib is not None
    assert found.disk_gib is not None
    assert (found.model, found.tcp_retries) == ("yes", 15)


def test_models_are_told_apart_by_their_words_and_the_size_of_their_weights(tmp_path: Path) -> None:
    folder = host(tmp_path) / "models/one"

    def seen() -> str | None:
        return probe.read_facts(LocalRunner(), str(folder)).model_is

    first = seen()
    (folder / "model.safetensors").write_bytes(b"1234")
    second = seen()
    (folder / "model.safetensors").rename(folder / "weights")
    (folder / "model.safetensors").symlink_to(folder / "weights")  # as in the hub's cache
    assert first is not None
    assert second not in (first, None)
    assert seen() == second
    (folder / "config.json").write_text('{"a": 1}')
    assert seen() not in (first, second, None)


def test_an_empty_root_says_nothing_and_is_no_trouble(tmp_path: Path) -> None:
    found = probe.read_facts(LocalRunner(), str(tmp_path / "models"), str(tmp_path))
    assert found.trouble is None
    assert (found.ports, found.verbs, found.listening, found.memory_gib) == ((), {}, None, None)
    assert found.model == "no"


def test_this_machine_answers() -> None:
    found = probe.read_facts(LocalRunner())
    assert found.trouble is None
    assert "127.0.0.1" in found.addresses
    assert found.docker is not None
    if shutil.which("ip"):
        assert "127.0.0.1" in found.interfaces["lo"]
    assert found.model is None
    assert found.ahead is not None
    assert found.ahead[0] <= 0 <= found.ahead[1]  # of its own clock
    assert any(one.who == "shell" for one in found.memlock)


def test_ssh_says_where_it_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50022 192.0.2.10 22")
    assert probe.read_facts(LocalRunner()).reached == "192.0.2.10"


def program(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


TOOLS = ["sh", "awk", "cat", "curl", "cut", "date", "df", "grep", "id", "ls", "readlink", "sha256sum", "sort"]
TOOLS += ["timeout", "tr", "uname"]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the path: with what the probe needs, and without a site's programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        if file := shutil.which(name):
            (folder / name).symlink_to(file)
    monkeypatch.setenv("PATH", str(folder))
    return folder


VERSION = '{"Platform": {"Name": ""}, "Components": [{"Name": "Engine"}], "Version": "26.1.5"}'
INFO = '{"ID": "x", "Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}}}'


def test_docker_is_asked_for_its_version_and_runtimes(programs: Path) -> None:
    program(
        programs,
        "docker",
        f"""[ "$2" = tcp://x:1 ] && case $3 in version) echo '{VERSION}';; info) echo '{INFO}';; esac""",
    )
    program(programs, "nvidia-container-runtime-hook", "exit 0")
    found = probe.read_facts(LocalRunner(), docker="tcp://x:1")
    assert found.docker == facts.DockerFacts("there", "Docker", "26.1.5", frozenset({"runc", "nvidia"}))
    assert found.programs == {"nvidia-container-runtime-hook"}


class Answers(http.server.BaseHTTPRequestHandler):
    """Docker's API, as far as the probe asks it."""

    def do_GET(self) -> None:
        body = (VERSION if self.path == "/version" else INFO).replace("Engine", "Podman Engine").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return

    def address_string(self) -> str:
        return "socket"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.usefixtures("programs")
def test_without_the_program_the_socket_itself_is_asked(tmp_path: Path) -> None:
    socket = tmp_path / "docker.sock"
    with socketserver.UnixStreamServer(str(socket), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = probe.read_facts(LocalRunner(), docker=f"unix://{socket}").docker
        server.shutdown()
    assert found == facts.DockerFacts("there", "Podman Engine", "26.1.5", frozenset({"runc", "nvidia"}))


def test_no_docker_and_one_that_is_not_understood(programs: Path, tmp_path: Path) -> None:
    assert probe.read_facts(LocalRunner(), docker=f"unix://{tmp_path}/no").docker == facts.DockerFacts(
        "absent"
    )
    program(programs, "docker", "echo null; echo Cannot connect >&2; exit 1")
    assert probe.read_facts(LocalRunner(), docker="tcp://x:1").docker == facts.DockerFacts("there")


def test_cards_and_who_uses_them(programs: Path) -> None:
    program(
        programs,
        "nvidia-smi",
        """case $1 in
        *gpu=*) echo '0, NVIDIA H200, 4 MiB, 143771 MiB, 580.95.05, GPU-a'
                echo 'Unable to determine the device handle for GPU0000:0A:00.0: Unknown Error';;
        *) echo '4711, /opt/a, b/python3, 700 MiB, GPU-a'; echo '[Insufficient Permissions]';; esac""",
    )
    program(programs, "hl-smi", "echo 'index, name'; echo '1, HL-225, 768 MiB, 98304 MiB, 1.22.2-1'")
    found = probe.read_facts(LocalRunner())
    gpus = found.cards["cuda"]
    assert gpus.cards == (facts.Card(0, "NVIDIA H200", "580.95.05", "GPU-a"),)
    assert gpus.trouble.startswith("Unable to determine")
    assert found.gpu_processes == (facts.GpuProcess("4711", "/opt/a, b/python3, 700 MiB", "GPU-a"),)
    assert found.gpu_trouble == "[Insufficient Permissions]"
    assert found.cards["gaudi"] == facts.CardList((facts.Card(1, "HL-225", "1.22.2-1"),), "index, name")
