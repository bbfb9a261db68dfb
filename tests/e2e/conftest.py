"""Real engines on this machine, each topology in a state folder and on ports of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass(frozen=True)
class Kit:
    """The kit as a user runs it, with a state folder of its own."""

    state: Path

    def run(self, *words: str, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end. Never raises for its exit status."""
        argv = [sys.executable, "-m", "heteropd", *words]
        env = {**os.environ, "HETEROPD_STATE_DIR": str(self.state), "COLUMNS": "200"}
        return subprocess.run(
            argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def report(self) -> dict[str, Any]:
        """The newest verdict as validation wrote it."""
        newest = max((self.state / "reports").glob("*.json"), key=lambda file: file.stat().st_mtime)
        read: dict[str, Any] = json.loads(newest.read_text())
        return read

    def status(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return read


@contextmanager
def kit() -> Iterator[Kit]:
    """A kit whose topology is down at the end, whatever happened."""
    with tempfile.TemporaryDirectory(prefix="hpd-") as folder:
        one = Kit(Path(folder))
        try:
            yield one
        finally:
            one.run("down", timeout_s=120)


def ports(names: Sequence[str] = ("port", "prefill_port", "decode_port")) -> dict[str, int]:
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT
