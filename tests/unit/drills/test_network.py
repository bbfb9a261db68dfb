"""What is done to a host's network is undone when our end closes, also when we are killed."""

import os
import signal
import time
from contextlib import ExitStack

import pytest

from heteropd.drills.model import CannotBePerformed
from heteropd.drills.network import _while_held
from heteropd.plan.model import HostPlan


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host that is this machine: ssh runs the command it is given."""
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nwhile [ "$1" != "--" ]; do shift; done\nshift; eval "$*"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("HETEROPD_SSH_CONFIG", raising=False)
    return HostPlan(name="somewhere", address="192.0.2.1", ssh="somewhere")


def test_it_is_undone_afterwards_and_after_an_error(host, tmp_path):
    rule = tmp_path / "rule"
    with _while_held(host, f"touch {rule}", f"rm {rule}"):
        assert rule.exists()
    assert not rule.exists()
    with pytest.raises(ZeroDivisionError), _while_held(host, f"touch {rule}", f"rm {rule}"):
        raise ZeroDivisionError
    assert not rule.exists()


def test_what_the_host_refuses_is_told(host, tmp_path):
    with ExitStack() as stack, pytest.raises(CannotBePerformed, match=r"somewhere: .*not permitted"):
        stack.enter_context(_while_held(host, "echo not permitted; false", f"touch {tmp_path / 'undone'}"))
    assert not (tmp_path / "undone").exists(), "what was not done is not undone"


def test_it_is_undone_when_the_kit_is_killed(host, tmp_path):
    rule = tmp_path / "rule"
    pid = os.fork()
    if pid == 0:
        with _while_held(host, f"touch {rule}", f"rm {rule}"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 20
    while rule.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
