"""The forwarded socket of another host's Docker."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from heteropd.containers import ssh_tunnel
from heteropd.errors import MissingPrerequisite
from heteropd.processes.identity import Identity, alive, identify

ANSWERS = "#!/bin/sh\necho ready\nexec cat >/dev/null\n"
REFUSES = "#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n"


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is first on PATH, for an ssh; forwards that were opened are closed."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(ssh_tunnel.CONFIG_VARIABLE, raising=False)
    yield tmp_path / "ssh"
    ssh_tunnel.close()


def written(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def opened(destination: str) -> Identity:
    found = identify(ssh_tunnel._open[destination].process.pid)
    assert found is not None
    return found


def test_an_address_that_is_not_ssh_stays() -> None:
    assert ssh_tunnel.local("unix:///var/run/docker.sock") == "unix:///var/run/docker.sock"


def test_another_socket_stands_behind_the_destination(tmp_path: Path) -> None:
    usual = ssh_tunnel.argv("ops@node", tmp_path / "s")
    assert f"{tmp_path}/s:/var/run/docker.sock" in usual
    rootless = ssh_tunnel.argv("ops@2001:db8::1/run/user/1000/docker.sock", tmp_path / "s")
    assert f"{tmp_path}/s:/run/user/1000/docker.sock" in rootless
    assert rootless[-2] == "ops@2001:db8::1"


def test_a_forward_is_kept_and_made_again_when_ssh_has_ended(ssh: Path) -> None:
    written(ssh, ANSWERS)
    first = ssh_tunnel.local("ssh://root@192.0.2.1")
    assert first.startswith("unix://")
    assert ssh_tunnel.local("ssh://root@192.0.2.1") == first
    ssh_tunnel._open["root@192.0.2.1"].process.kill()
    ssh_tunnel._open["root@192.0.2.1"].process.wait()
    assert ssh_tunnel.local("ssh://root@192.0.2.1") != first


def test_a_forward_ends_with_its_pipe_and_leaves_no_folder(ssh: Path) -> None:
    written(ssh, ANSWERS)
    socket = Path(ssh_tunnel.local("ssh://root@192.0.2.1").removeprefix("unix://"))
    process, one = ssh_tunnel._open["root@192.0.2.1"].process, opened("root@192.0.2.1")
    assert process.stdin is not None
    process.stdin.close()  # what the kernel does when the kit is killed
    process.wait(10)
    assert not alive(one)
    ssh_tunnel.close()
    assert not socket.parent.exists()


def test_folders_of_kits_that_were_killed_go(
    ssh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(ssh, ANSWERS)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(["true"]) as child:
        child.wait()
    names = (f"{child.pid}-abc", f"{os.getppid()}-abc", "else")
    for name in names:
        (tmp_path / f"heteropd-ssh-{name}").mkdir()
    ssh_tunnel.local("ssh://node")
    assert [(tmp_path / f"heteropd-ssh-{name}").exists() for name in names] == [False, True, True]


def test_what_ssh_says_is_passed_on(ssh: Path) -> None:
    written(ssh, REFUSES)
    with pytest.raises(MissingPrerequisite, match=r"root@192\.0\.2\.1 does not answer .*Permission denied"):
        ssh_tunnel.local("ssh://root@192.0.2.1")


def test_a_host_that_did_not_answer_is_not_waited_for_again_at_once(
    ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command looks at a host many times, and each look may take ssh ten seconds."""
    asked = ssh.with_name("asked")
    written(ssh, f"#!/bin/sh\necho >>{asked}\nexit 255\n")

    def look() -> int:
        with pytest.raises(MissingPrerequisite, match="does not answer over ssh"):
            ssh_tunnel.local("ssh://node")
        return asked.read_text().count("\n")

    assert [look(), look(), look()] == [1, 1, 1]
    monkeypatch.setattr(ssh_tunnel, "_LOST_S", 0.0)
    assert look() == 2
    written(ssh, ANSWERS)
    assert ssh_tunnel.local("ssh://node").startswith("unix://")


def test_ssh_never_asks_and_takes_the_users_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ssh_tunnel.CONFIG_VARIABLE, raising=False)
    words = ssh_tunnel.argv("node", Path("/tmp/s"))
    assert "BatchMode=yes" in words
    assert "-F" not in words
    assert not any("StrictHostKeyChecking" in word for word in words), "host keys are the user's to judge"
    monkeypatch.setenv(ssh_tunnel.CONFIG_VARIABLE, "/home/me/lab")
    assert ssh_tunnel.argv("node", Path("/tmp/s"))[:3] == ["ssh", "-F", "/home/me/lab"]
