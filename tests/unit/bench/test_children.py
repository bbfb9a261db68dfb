"""Processes of a benchmark: started, noticed when they die, ended, and watched for milestones."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from heteropd.bench.children import Children, cpu_s, free_ports, memory_mib
from heteropd.bench.make import Make, healthy_after, of_bring_up
from heteropd.bench.workspace import BenchWorkspace
from heteropd.errors import BadInput, KitError
from heteropd.processes.identity import alive, identify
from heteropd.processes.launcher import temporary_root
from heteropd.processes.process_tree import tagged
from heteropd.system import LocalRunner, SystemClock

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def workspace(tmp_path: Path) -> BenchWorkspace:
    return BenchWorkspace(tmp_path, LocalRunner(), SystemClock())


def test_everything_ends_with_the_block(workspace: BenchWorkspace) -> None:
    with Children("run", workspace) as children:
        # A shell in between: a grandchild must end as well.
        argv = ["sh", "-c", f"{sys.executable} -c 'import time; time.sleep(61)' & wait"]
        started = [children.start("a", SLEEP), children.start("b", argv)]
        children.check()
        while not (below := psutil.Process(started[1].process.pid).children()):
            pass
        everyone = [child.process for child in started] + [identify(process.pid) for process in below]
        assert all(process is not None and alive(process) for process in everyone)
    assert not any(process is not None and alive(process) for process in everyone)


def test_everything_ends_when_the_benchmark_fails(workspace: BenchWorkspace) -> None:
    started = []

    def fail() -> None:
        with Children("run", workspace) as children:
            started.append(children.start("a", SLEEP).process)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not alive(started[0])


def test_a_death_is_noticed_with_the_last_line(workspace: BenchWorkspace) -> None:
    with Children("run", workspace) as children:
        child = children.start("engine", ["sh", "-c", "sleep 0.3; echo out of memory; exit 3"])
        while alive(child.process):
            pass
        with pytest.raises(KitError, match="engine died: out of memory"):
            children.check()


def test_a_missing_program_is_one_line(workspace: BenchWorkspace) -> None:
    with Children("run", workspace) as children, pytest.raises(KitError, match="cannot be run"):
        children.start("a", ["/no/such/program"])


def test_nothing_is_left_in_the_temporary_folder(
    workspace: BenchWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines leave sockets, lock files and compilers' caches there when they are killed."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    leave = "import pathlib, tempfile, time; pathlib.Path(tempfile.gettempdir(), 'x.lock').touch()"
    leave += "; print('left', flush=True)"
    with Children("run", workspace) as children:
        child = children.start("engine", [sys.executable, "-S", "-c", f"{leave}; time.sleep(60)"])
        while not child.log.read_text():
            pass
        (made,) = children._tmp.iterdir()
        assert made.name == "x.lock"
        assert children._tmp.stat().st_mode & 0o777 == 0o700
    assert not children._tmp.exists()
    assert not list((tmp_path / "tmp").iterdir())


def test_a_killed_benchmark_leaves_nothing_either(workspace: BenchWorkspace) -> None:
    """The guard is what ends and removes then."""
    pid = os.fork()
    if pid == 0:
        with Children("run", workspace) as children:
            children.start("a", SLEEP)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    tmp = temporary_root(workspace.folder("run").resolve())
    deadline = time.monotonic() + 30
    while tmp.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not tagged(workspace.folder("run").resolve())


def test_progress_has_the_time_since_the_beginning(tmp_path: Path) -> None:
    out = io.StringIO()
    clock = SystemClock()
    workspace = BenchWorkspace(tmp_path, LocalRunner(), clock, Console(file=out, width=200), clock.now() - 83)
    with workspace.step("round 1 of 3: bare"):
        pass
    assert out.getvalue() == "[   83 s] round 1 of 3: bare\n"


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_a_running_topology_stops_a_benchmark(workspace: BenchWorkspace) -> None:
    workspace.require_idle()
    state = workspace.root / ".heteropd/state.json"
    state.parent.mkdir()
    state.write_text(json.dumps({"id": "x", "phase": "up"}))
    with pytest.raises(BadInput, match="make down"):
        workspace.require_idle()


MAKEFILE = """
good:
\t@echo '{"phase": "starting"}' > $(HETEROPD_STATE_DIR)/state.json; sleep 0.3
\t@echo '{"phase": "up", "roles": [{"name": "a", "healthy_after_s": 1}]}' > $(HETEROPD_STATE_DIR)/state.json
\t@sleep 0.3; echo words: $(MAKEOVERRIDES)
bad:
\t@echo verdict: FAIL; exit 1
lazy:
\t@true
"""


@pytest.fixture
def make(workspace: BenchWorkspace, monkeypatch: pytest.MonkeyPatch) -> Make:
    (workspace.root / "Makefile").write_text(MAKEFILE)
    state = workspace.root / "state"
    state.mkdir()
    # As under `make bench what=bringup`.
    monkeypatch.setenv("MAKEFLAGS", " -- what=bringup")
    return Make(workspace.root, state, Children("run", workspace))


def test_milestones_of_a_bring_up(make: Make) -> None:
    with make.children:
        seen = make.run(["good", "port=1"], of_bring_up(make.state_dir), 20)
        said = (make.children.folder / "make-good.log").read_text()
    assert 0 < seen["started"] < seen["ready"] < seen["exit"] < 20
    assert seen["ready"] - seen["started"] > 0.2
    assert "port=1" in said
    assert "what=bringup" not in said, (
        "the words of the benchmark itself went on to the make that it measures"
    )
    assert healthy_after(make.state_dir) == {"a": 1}


@pytest.mark.parametrize(
    ("word", "said"), [("bad", "exit status 2"), ("lazy", "never reached: started, ready")]
)
def test_a_bring_up_that_fails_is_no_measurement(make: Make, word: str, said: str) -> None:
    with make.children, pytest.raises(KitError, match=said):
        make.run([word], of_bring_up(make.state_dir), 20)


def test_a_process_that_is_found_twice_counts_once() -> None:
    program = "held = bytearray(50_000_000); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", program], **pipes)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        alone = memory_mib([child.pid])
        both, twice = memory_mib([os.getpid()]), memory_mib([os.getpid(), child.pid])
        assert 45 < alone < both
        assert twice == pytest.approx(both, abs=20)
    finally:
        child.communicate(b"\n")
    assert memory_mib([child.pid]) == cpu_s([child.pid]) == 0
