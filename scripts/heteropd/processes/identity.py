"""Which process is meant: a pid alone is not enough, because the kernel gives it to somebody else later."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Fields 3, 9, 20, 22 and 51 of /proc/PID/stat, counted after the name in parentheses.
_STATE, _FLAGS, _THREADS, _START_TICKS, _ENV_END = 0, 6, 17, 19, 48
_KERNEL_THREAD = 0x200000


@dataclass(frozen=True)
class Identity:
    """One process for as long as it lives. ``ticks`` is its start in clock ticks since the boot ``boot_id``:
    unlike a time of day it does not move when the clock is set."""

    pid: int
    ticks: int
    boot_id: str


def boot_id() -> str:
    """The kernel's name for this boot."""
    return _BOOT_ID.read_text().strip()


def identify(pid: int) -> Identity | None:
    """The identity of ``pid``, which may have exited but not been waited for; None when there is none."""
    fields = _stat(pid)
    return None if fields is None else Identity(pid, int(fields[_START_TICKS]), boot_id())


def alive(process: Identity) -> bool:
    """True while exactly this process exists and has not exited with all of its threads."""
    fields = _stat(process.pid)
    return (
        fields is not None
        and int(fields[_START_TICKS]) == process.ticks
        and not _has_exited(fields)
        and boot_id() == process.boot_id
    )


def in_exec(pid: int) -> bool:
    """True while ``pid`` is about to be a program whose environment the kernel has not put in place yet."""
    fields = _stat(pid)
    if fields is None or fields[_STATE] in "XZ" or int(fields[_FLAGS]) & _KERNEL_THREAD:
        return False
    return fields[_ENV_END] == "0"


def send(process: Identity, signum: signal.Signals) -> bool:
    """Signal exactly this process, never a later one with its pid. False when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # Checked after the handle is open: from here on the handle cannot come to mean another process.
        if not alive(process):
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signum)
        return True
    finally:
        os.close(handle)


def _has_exited(fields: list[str]) -> bool:
    # The state is the first thread's: a program in Go shows Z while others of its threads are still going,
    # and nobody can wait for it until they are gone.
    return fields[_STATE] == "X" or (fields[_STATE] == "Z" and int(fields[_THREADS]) <= 1)


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
