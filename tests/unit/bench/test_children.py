"""Processes of a benchmark: started, noticed when they die, ended, and watched for milestones."""

import json
import sys
from pathlib import Path

import psutil
import pytest

from heteropd.bench import milestones
from heteropd.bench.children import Children, free_ports
from heteropd.bench.make import Make
from heteropd.bench.workspace import BenchWorkspace
from heteropd.errors import BadInput, KitError
from heteropd.processes.identity import alive, identify
from heteropd.system import LocalRunner, SystemClock

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def lab(tmp_path: Path) -> BenchWorkspace:
    return BenchWorkspace(tmp_path, LocalRunner(), SystemClock())


def test_everything_ends_with_the_block(lab: BenchWorkspace) -> None:
    with Children("run", lab) as children:
        # A shell in between: a grandchild must end as well.
        argv = ["sh", "-c", f"{sys.executable} -c 'import time; time.sleep(61)' & wait"]
        started = [children.start("a", SLEEP), children.start("b", argv)]
        children.check()
        while not (below := psutil.Process(started[1].process.pid).children()):
            pass
        everyone = [one.process for one in started] + [identify(one.pid) for one in below]
        assert all(one is not None and alive(one) for one in everyone)
    assert not any(one is not None and alive(one) for one in everyone)


def test_everything_ends_when_the_benchmark_fails(lab: BenchWorkspace) -> None:
    started = []

    def fail() -> None:
        with Children("run", lab) as children:
            started.append(children.start("a", SLEEP).process)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not alive(started[0])


def test_a_death_is_noticed_with_the_last_line(lab: BenchWorkspace) -> None:
    with Children("run", lab) as children:
        child = children.start("engine", ["sh", "-c", "sleep 0.3; echo out of memory; exit 3"])
        while alive(child.process):
            pass
        with pytest.raises(KitError, match="engine died: out of memory"):
            children.check()


def test_a_missing_program_is_one_line(lab: BenchWorkspace) -> None:
    with Children("run", lab) as children, pytest.raises(KitError, match="cannot be run"):
        children.start("a", ["/no/such/program"])


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_a_running_topology_stops_a_benchmark(lab: BenchWorkspace) -> None:
    lab.require_idle()
    state = lab.root / ".heteropd/state.json"
    state.parent.mkdir()
    state.write_text(json.dumps({"id": "x", "phase": "up"}))
    with pytest.raises(BadInput, match="make down"):
        lab.require_idle()


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
def make(lab: BenchWorkspace, monkeypatch: pytest.MonkeyPatch) -> Make:
    (lab.root / "Makefile").write_text(MAKEFILE)
    state = lab.root / "state"
    state.mkdir()
    # As under `make bench what=bringup`.
    monkeypatch.setenv("MAKEFLAGS", " -- what=bringup")
    return Make(lab.root, state, Children("run", lab))


def test_milestones_of_a_bring_up(make: Make) -> None:
    with make.children:
        seen = make.run(["good", "port=1"], milestones.of_bring_up(make.state_dir), 20)
        said = (make.children.folder / "make-good.log").read_text()
    assert 0 < seen["started"] < seen["ready"] < seen["exit"] < 20
    assert seen["ready"] - seen["started"] > 0.2
    assert "port=1" in said
    assert "what=bringup" not in said, (
        "the words of the benchmark itself went on to the make that it measures"
    )
    assert milestones.roles(make.state_dir) == {"a": 1}


@pytest.mark.parametrize(
    ("word", "said"), [("bad", "exit status 2"), ("lazy", "never reached: started, ready")]
)
def test_a_bring_up_that_fails_is_no_measurement(make: Make, word: str, said: str) -> None:
    with make.children, pytest.raises(KitError, match=said):
        make.run([word], milestones.of_bring_up(make.state_dir), 20)
