"""Segments in /dev/shm. An engine that is killed cannot unlink its own, so the kit does it afterwards.

Segments are told apart by who maps them, never by their names: foreign ones may look just the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_FOLDER = "/dev/shm/"  # noqa: S108 - where Linux keeps POSIX shared memory


def segments(pids: Iterable[int]) -> set[str]:
    """Paths under /dev/shm that these processes map or hold open and that still have a name."""
    found: set[str] = set()
    for pid in pids:
        found |= _mapped(pid) | _opened(pid)
    return {path for path in found if not path.endswith(" (deleted)")}


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
    try:
        return Path(path).lstat().st_uid == os.getuid()
    except OSError:
        return False


def _mapped(pid: int) -> set[str]:
    try:
        text = Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return set()
    return {line[line.index(_FOLDER) :] for line in text.splitlines() if _FOLDER in line}


def _opened(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()))
    return {path for path in found if path.startswith(_FOLDER)}
