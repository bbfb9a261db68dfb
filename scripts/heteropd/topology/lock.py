"""One command at a time may change a topology."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from heteropd.errors import BadInput
from heteropd.processes.identity import Identity, alive, identify
from heteropd.processes.watchdog import LOCK_FILE
from heteropd.system import Clock

_PATIENCE_S = 3.0  # a guard that cleans up after a killed command holds the lock for a moment


@contextmanager
def locked(state_dir: Path, command: str, clock: Clock) -> Iterator[None]:
    """Hold the state folder's lock. The kernel frees it when we die, however that happens.

    Raises BadInput, naming the holder, when another command has it.
    """
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state_dir / LOCK_FILE).open("a+") as stream:
        deadline = clock.now() + _PATIENCE_S
        while not _taken(stream.fileno()):
            holder = _holder(state_dir)
            if holder or clock.now() >= deadline:
                raise BadInput(
                    "this topology",
                    None,
                    None,
                    f"another command is at work on it{holder}",
                    "wait for it, or end it with ctrl-C where it runs",
                )
            clock.sleep(0.1)
        stream.truncate(0)
        me = identify(os.getpid())
        since = clock.wall().isoformat(timespec="seconds")
        stream.write(json.dumps({"command": command, "since": since, "process": asdict(me) if me else None}))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(state_dir: Path) -> str:
    try:
        data = json.loads((state_dir / LOCK_FILE).read_text())
        process = Identity(**data["process"])
        return f": {data['command']}, pid {process.pid}, since {data['since']}" if alive(process) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
