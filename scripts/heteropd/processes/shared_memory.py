"""Segments in /dev/shm. An engine that is killed cannot unlink its own, so the kit does it afterwards.

Segments are told apart by who maps them, never by their names: foreign ones may look just the same.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_FOLDER = "/dev/shm/"  # noqa: S108 - where Linux keeps POSIX shared memory


def segments(pids: Iterable[int]) -> set[str]:
    """Paths under /dev/shm of what these processes map or hold open.

    Compared by inode: a semaphore is created under one name and linked to another, so that its creator's
    map shows a name that is gone.
    """
    used: set[int] = set()
    for pid in pids:
        used |= _mapped(pid) | _opened(pid)
    with os.scandir(_FOLDER) as entries:
        return {entry.path for entry in entries if entry.inode() in used}


def remove_unused(paths: Iterable[str]) -> list[str]:
    """Remove those of ``paths`` that are this user's and that no living process uses; returns them."""
    candidates = {path for path in paths if Path(path).parent == Path(_FOLDER) and _own(path)}
    if not candidates:
        return []
    removed = []
    for path in sorted(candidates - segments(psutil.pids())):
        with suppress(FileNotFoundError):
            Path(path).unlink()
            removed.append(path)
    return removed


def _own(path: str) -> bool:
    """Ours to remove: made by this user, or, for root, by a container's."""
    try:
        return os.getuid() in (0, Path(path).lstat().st_uid)
    except OSError:
        return False


def _mapped(pid: int) -> set[int]:
    try:
        text = Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return set()
    return {int(line.split()[4]) for line in text.splitlines() if _FOLDER in line}


def _opened(pid: int) -> set[int]:
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(entry.readlink()).startswith(_FOLDER):
                    found.add(entry.stat().st_ino)
    return found
