"""One command at a time may change a topology."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.processes.identity import Identity, alive, identify
from heteropd.processes.sweep import LOCK_FILE
from heteropd.system import Clock

_PATIENCE_S = 3.0  # a guard that cleans up after a killed command holds the lock for a moment


@contextmanager
def locked(state_dir: Path, command: str, clock: Clock, *, ending: bool = False) -> Iterator[None]:
    """Hold the state folder's lock. The kernel frees it when we die, however that happens.

    Raises BadInput, naming the holder, when another command has it, and MissingPrerequisite for a folder that
    cannot be written. ``ending``: what ends things does so without the lock rather than not at all (a full
    disk).
    """
    lock = FileLock(state_dir / LOCK_FILE)
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _acquire(lock, state_dir)
        me, since = identify(os.getpid()), clock.wall().isoformat(timespec="seconds")
        about = {"command": command, "since": since, "process": asdict(me) if me else None}
        _write(state_dir, json.dumps(about))
    except OSError as problem:
        if not ending:
            where = problem.filename or state_dir
            what = f"{where}: {problem.strerror}; a topology's state is kept there"
            fix = "make room, or name another folder: HETEROPD_STATE_DIR=FOLDER"
            raise MissingPrerequisite(what, fix) from None
    try:
        yield
    finally:
        if lock.is_locked:
            _write(state_dir, "")
            lock.release()


def _acquire(lock: FileLock, state_dir: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        known = holder(state_dir)
        try:
            lock.acquire(timeout=0 if known else _PATIENCE_S)
        except Timeout:
            problem = f"another command is at work on it{known or holder(state_dir)}"
            fix = "wait for it, or end it with ctrl-C where it runs"
            raise BadInput("this topology", None, None, problem, fix) from None


def _write(state_dir: Path, text: str) -> None:
    with suppress(OSError):  # nobody is named then, and nothing else is lost
        (state_dir / LOCK_FILE).write_text(text)


def holder(state_dir: Path) -> str:
    """Who holds the lock, as ``: COMMAND, pid PID, since TIME``; empty when nobody is known to."""
    try:
        data = json.loads((state_dir / LOCK_FILE).read_text())
        process = Identity(**data["process"])
        return f": {data['command']}, pid {process.pid}, since {data['since']}" if alive(process) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
