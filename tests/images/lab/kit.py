"""The kit's command line, as a user has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def heteropd(*words: str, root: Path = ROOT, timeout_s: float = 1800, code: int = 0) -> str:
    """Run a verb of the checkout in ``root``; returns what it said. Fails unless it exits with ``code``."""
    environ = {**os.environ, "PYTHONPATH": str(root / "scripts"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "heteropd", *words],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout + done.stderr
