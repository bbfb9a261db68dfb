"""Identity, families and endings, with real processes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from heteropd.errors import MissingPrerequisite
from heteropd.plan.environment import ChildEnvironment
from heteropd.processes import process_tree, shared_memory, terminate
from heteropd.processes.identity import alive, identify, in_exec, send
from heteropd.processes.launcher import Launch, exit_status, start
from heteropd.processes.process_tree import descendants, tag, tagged
from heteropd.system import LocalRunner, SystemClock

CLOCK = SystemClock()


def launch(tmp_path, *argv, **env):
    environment = ChildEnvironment({**os.environ, **env}, ())
    return Launch("prefill-0", list(argv), environment, tmp_path / "logs" / "log", tmp_path / "tmp")


def python(tmp_path, code, **env):
    """Start Python code that says `ready` when it is; returns its identity."""
    process = start(launch(tmp_path, sys.executable, "-S", "-c", code, **env), LocalRunner(), tmp_path)
    log = tmp_path / "logs" / "log"
    while "ready" not in log.read_text():
        CLOCK.sleep(0.02)
    return process


SLEEP = "print('ready', flush=True); import time; time.sleep(3600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


def test_a_process_is_told_from_a_later_one_with_its_pid(tmp_path):
    process = python(tmp_path, SLEEP)
    impostor = replace(process, ticks=process.ticks + 1)
    before_reboot = replace(process, boot_id="another")
    assert alive(process)
    for stranger in (impostor, before_reboot):
        assert not alive(stranger)
        assert not send(stranger, signal.SIGKILL)
        assert descendants(stranger) == set()
    assert alive(process)
    assert send(process, signal.SIGKILL)
    while alive(process):
        CLOCK.sleep(0.01)
    assert identify(process.pid) == process, "dead, and known until it is waited for"
    assert exit_status(process) == -signal.SIGKILL
    assert identify(process.pid) is None
    assert not send(process, signal.SIGKILL)


def test_a_process_runs_in_a_session_of_its_own(tmp_path):
    process = python(tmp_path, SLEEP)
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    terminate.kill(lambda: descendants(process), CLOCK)


def test_ending_is_polite_first(tmp_path):
    process = python(tmp_path, SLEEP)
    ended = terminate.end(lambda: descendants(process), CLOCK, grace_s=30)
    assert ended.found == {process}
    assert not ended.killed
    assert not ended.survivors
    assert exit_status(process) == -signal.SIGTERM


def test_ending_is_not_polite_for_ever(tmp_path):
    process = python(tmp_path, STUBBORN)
    ended = terminate.end(lambda: descendants(process), CLOCK, grace_s=0.2)
    assert ended.killed == {process}
    assert exit_status(process) == -signal.SIGKILL


def test_children_outlive_their_parent_and_are_still_found(tmp_path):
    code = f"import os; os.fork() or {{}}; {STUBBORN}"
    process = python(tmp_path, code, **tag("topology", tmp_path))
    while len(descendants(process)) < 2:
        CLOCK.sleep(0.02)
    send(process, signal.SIGKILL)
    while alive(process):
        CLOCK.sleep(0.01)
    assert len(tagged(tmp_path)) == len(tagged(tmp_path, "topology")) == 1
    assert tagged(tmp_path, "another") == tagged(tmp_path.parent) == set()
    terminate.kill(lambda: tagged(tmp_path), CLOCK)
    assert not tagged(tmp_path)


@pytest.mark.parametrize("looks", [1, 2, 30])
def test_a_program_that_was_begun_a_moment_ago_is_found(monkeypatch, looks):
    """The kernel shows no environment until it has put it in place: once in 20 spawns on a busy machine."""
    answers = iter([*[b""] * looks, b"X=1", b"X=1"])
    waiting = iter([*[True] * (looks - 1), False])
    monkeypatch.setattr(process_tree, "_read_environment", lambda _pid: next(answers))
    monkeypatch.setattr(process_tree, "in_exec", lambda _pid: next(waiting))
    assert process_tree._environment(1) == b"X=1"


def test_a_program_without_an_environment_is_not_waited_for():
    child = subprocess.Popen(["sleep", "60"], env={})
    try:
        assert process_tree._environment(child.pid) == b""
        assert not in_exec(child.pid)
    finally:
        child.kill()
        child.wait()


def test_a_mark_on_ourselves_or_an_ancestor_is_not_followed(tmp_path):
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from pathlib import Path; from heteropd.processes.process_tree import tagged\n"
        f"print(len(tagged(Path({str(tmp_path)!r}))))"
    )
    env = {**os.environ, **tag("topology", tmp_path)}
    argv = ["/bin/sh", "-c", '"$@"; true', "sh", sys.executable, "-c", code]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_a_program_lives_until_its_last_thread_has_gone(tmp_path):
    """The first thread ends before others, as in Go programs: only then is there an exit status to be had."""
    code = """
import ctypes, os, threading, time
def last():
    while not os.path.exists("go"):
        time.sleep(0.01)
    os._exit(7)
threading.Thread(target=last).start()
ctypes.CDLL(None).syscall(60, 0)  # exit, of this thread alone
"""
    child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    process = identify(child.pid)
    assert process is not None
    try:
        clock, stat = SystemClock(), Path(f"/proc/{child.pid}/stat")
        deadline = clock.now() + 20
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            assert clock.now() < deadline
            clock.sleep(0.01)
        assert alive(process)
        assert exit_status(process) is None
        (tmp_path / "go").touch()
        while alive(process):
            assert clock.now() < deadline
            clock.sleep(0.001)
        assert exit_status(process) == 7
    finally:
        child.kill()


def test_a_program_that_cannot_run_is_one_line(tmp_path):
    with pytest.raises(MissingPrerequisite, match="prefill-0: /no/such cannot be run"):
        start(launch(tmp_path, "/no/such"), LocalRunner(), tmp_path)


def test_segments_are_removed_when_nobody_uses_them(tmp_path):
    path = f"/dev/shm/heteropd-test-{os.getpid()}"
    code = (
        f"import os, mmap; d = os.open({path!r}, os.O_CREAT | os.O_RDWR); os.ftruncate(d, 4096)\n"
        f"m = mmap.mmap(d, 4096); os.close(d); {SLEEP}"
    )
    process = python(tmp_path, code)
    assert shared_memory.segments([process.pid]) == {path}
    assert shared_memory.remove_unused([path]) == [], "in use"
    terminate.kill(lambda: descendants(process), CLOCK)
    outside = tmp_path / "file"
    outside.touch()
    assert shared_memory.remove_unused([path, str(outside), f"/dev/shm/../..{outside}"]) == [path]
    assert outside.exists()
    assert not Path(path).exists()


def test_a_semaphore_is_found_although_its_creator_knows_it_by_another_name(tmp_path):
    code = (
        "from multiprocessing import resource_tracker; resource_tracker.register = lambda *_: None\n"
        "import _multiprocessing as m, os; name = f'/heteropd-test-{os.getpid()}'\n"
        f"held = m.SemLock(0, 1, 1, name, False); {SLEEP}"
    )
    process = python(tmp_path, code)
    path = f"/dev/shm/sem.heteropd-test-{process.pid}"
    assert path not in Path(f"/proc/{process.pid}/maps").read_text()
    assert shared_memory.segments([process.pid]) == {path}
    terminate.kill(lambda: descendants(process), CLOCK)
    assert shared_memory.remove_unused([path]) == [path]
