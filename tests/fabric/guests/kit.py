"""The kit's command line over the guests, as a user has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from guests.lab import Lab
from guests.recipe import ROOT

_LIMIT_S = 600.0


def run(verb: str, lab: Lab, hosts: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`VERB case1 hosts=… ssh_config=…`; a verdict, so that it must exit with 0 or 1."""
    return command(lab, verb, "case1", f"hosts={hosts}", *words)


def command(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """The words, with the lab's ssh_config; the exit status must be 0 or 1."""
    # A topology that runs in this checkout is none of the lab's.
    ours = {"PYTHONPATH": str(ROOT / "scripts"), "HETEROPD_STATE_DIR": str(lab.folder / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "heteropd", *words, f"ssh_config={lab.ssh_config}"],
        cwd=ROOT,
        env={**os.environ, **ours},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert done.returncode in (0, 1), f"exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done
