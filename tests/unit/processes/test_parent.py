"""Following whoever runs the kit: the make above nox, which lives on when make is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import heteropd

KIT = """
import signal, sys, time
from pathlib import Path
from heteropd.processes.parent import follow_make
def ended(*_): Path("ended").touch(); sys.exit()
if len(sys.argv) > 1: signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGTERM, ended)
Path("follows").write_text(str(follow_make()))
time.sleep(60)
"""
# As nox: starts the kit, waits, and knows nothing of make's death.
NOX = "import subprocess, sys; subprocess.run([sys.executable, '-S', 'kit.py', *sys.argv[1:]])"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kit.py").write_text(KIT)
    (tmp_path / "nox.py").write_text(NOX)
    (tmp_path / "Makefile").write_text(f"case1:\n\t@true; {sys.executable} -S nox.py $(WORDS)\n")
    monkeypatch.setenv("PYTHONPATH", str(Path(heteropd.__file__).parents[1]))
    monkeypatch.delenv("MAKELEVEL", raising=False)
    return tmp_path


def wait_for(path: Path, limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not path.exists() or (path.name == "follows" and not path.read_text()):
        assert time.monotonic() < deadline, f"{path.name} does not appear"
        time.sleep(0.02)


@pytest.mark.parametrize("words", [["make"], ["sh", "-c", "make; true"], ["make", "WORDS=nohup"]])
def test_the_kit_follows_make_through_nox_unless_under_nohup(checkout: Path, words: list[str]) -> None:
    with subprocess.Popen(words, cwd=checkout, start_new_session=True) as top:
        try:
            wait_for(checkout / "follows")
            made = [int(line.split()[0]) for line in _processes(top.pid) if line.split()[1] == "make"]
            os.kill(made[0], signal.SIGKILL)
            if "WORDS=nohup" in words:
                time.sleep(0.3)
                assert not (checkout / "ended").exists()
            else:
                wait_for(checkout / "ended")
        finally:
            os.killpg(top.pid, signal.SIGKILL)


def test_without_make_there_is_nothing_to_follow(checkout: Path) -> None:
    """A shell or a CI runner may end before what it started in the background."""
    with subprocess.Popen([sys.executable, "-S", "nox.py"], cwd=checkout, start_new_session=True) as top:
        wait_for(checkout / "follows")
        os.killpg(top.pid, signal.SIGKILL)
    assert (checkout / "follows").read_text() == "False"


def _processes(session: int) -> list[str]:
    listing = subprocess.run(
        ["ps", "-s", str(session), "-o", "pid=,comm="], capture_output=True, text=True, check=True
    )
    return listing.stdout.splitlines()
