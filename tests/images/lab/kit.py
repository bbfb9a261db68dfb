"""The kit's command line, as a user has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def heteropd(*words: str, timeout_s: float = 900, code: int = 0) -> str:
    """Run a verb of the kit; returns what it said. Fails unless it exits with ``code``."""
    done = subprocess.run(
        [sys.executable, "-m", "heteropd", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout + done.stderr
