"""A hosts file through a real sshd on loopback, with keys and configuration of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heteropd.cli import main
from heteropd.spec.env import load_hosts

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.skipif(SSHD is None, reason="sshd is not installed"),
    pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed"),
    pytest.mark.skipif(
        os.geteuid() == 0 and not Path("/run/sshd").is_dir(), reason="sshd as root wants /run/sshd"
    ),
]


@pytest.fixture
def ssh_config(tmp_path: Path) -> Iterator[Path]:
    """What reaches the sshd, as the alias node-a; nobody listens behind node-c."""
    for name in ("host", "user"):
        key = tmp_path / f"{name}_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "keys").write_text((tmp_path / "user_key.pub").read_text())
    free = _free_port()
    server = tmp_path / "sshd_config"
    server.write_text(
        f"ListenAddress 127.0.0.1:{free}\nHostKey {tmp_path}/host_key\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {tmp_path}/keys\nStrictModes no\nPasswordAuthentication no\n"
    )
    client = tmp_path / "ssh_config"
    client.write_text(
        f"Host node-c\n  Port {_free_port()}\n"
        f"Host *\n  HostName 127.0.0.1\n  Port {free}\n  IdentityFile {tmp_path}/user_key\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {tmp_path}/known\n  HostKeyAlias lab\n"
    )
    (tmp_path / "known").write_text("lab " + (tmp_path / "host_key.pub").read_text())
    assert SSHD is not None
    with subprocess.Popen([SSHD, "-D", "-e", "-f", server], stderr=subprocess.PIPE) as sshd:
        try:
            _wait(free, sshd)
            yield client
        finally:
            sshd.terminate()


def test_a_hosts_file_through_ssh(ssh_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = ssh_config.with_name("mine.yaml")
    given = ["hosts", "init", f"to={file}", f"ssh_config={ssh_config}", "standin=1"]
    code = main([*given, "node-a"])
    said = capsys.readouterr()
    if "has no address" in said.err:
        pytest.skip("this machine has loopback alone")
    assert (code, said.out.startswith("wrote ")) == (0, True), said.err
    found = load_hosts(file, ROOT)
    assert found.hosts["node-a"].ssh == "node-a"
    assert not found.hosts["node-a"].address.startswith("127.")
    before = file.read_text()
    assert main([*given, "--force", "node-c"]) == 1
    assert "1 of 1 nodes do not answer: node-c: " in capsys.readouterr().err
    assert file.read_text() == before


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(port: int, sshd: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if sshd.poll() is not None:
            assert sshd.stderr is not None
            pytest.skip(f"sshd does not start here: {sshd.stderr.read().decode()[-200:]}")
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("sshd does not listen")
