"""Finding every process of a topology, also those whose parent has died or whose start was never recorded.

Each child carries a mark in its environment, from the moment it exists as a program of its own. The mark
is what makes a bring-up safe against a ``kill -9`` between starting a process and writing down its pid.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from heteropd.processes.identity import Identity, alive, identify

MARK = "HETEROPD_TOPOLOGY"
GUARD_MARK = "HETEROPD_GUARD"
ROLE = "HETEROPD_ROLE"


def mark(topology_id: str, state_dir: Path, variable: str = MARK) -> dict[str, str]:
    """The environment that makes a process findable by `marked`."""
    return {variable: f"{topology_id}@{state_dir}"}


def marked(
    state_dir: Path, topology_id: str | None = None, role: str | None = None, variable: str = MARK
) -> set[Identity]:
    """Living processes of this user that belong to ``state_dir``; of one topology or role where given.

    The caller and its ancestors never count, whatever their environment says.
    """
    ours = _lineage()
    found = set()
    for pid in _own_pids():
        if pid in ours:
            continue
        variables = _environment(pid)
        name, _, where = variables.get(variable, "").partition("@")
        if where != str(state_dir) or (topology_id not in (None, name)):
            continue
        if role is not None and variables.get(ROLE) != role:
            continue
        process = identify(pid)
        if process is not None and alive(process):
            found.add(process)
    return found


def family(leader: Identity) -> set[Identity]:
    """The process, its descendants and everything in its session or process group. Empty when it is gone."""
    if not alive(leader):
        return set()
    pids = {leader.pid}
    try:
        pids |= {child.pid for child in psutil.Process(leader.pid).children(recursive=True)}
    except psutil.Error:
        return set()
    pids |= {pid for pid in psutil.pids() if leader.pid in _groups(pid)}
    return {one for one in map(identify, pids - _lineage()) if one is not None and alive(one)}


def _groups(pid: int) -> tuple[int, ...]:
    try:
        return os.getpgid(pid), os.getsid(pid)
    except OSError:
        return ()


def _lineage() -> set[int]:
    me = psutil.Process()
    return {me.pid, *(parent.pid for parent in me.parents())}


def _own_pids() -> Iterator[int]:
    uid = os.getuid()
    with os.scandir("/proc") as entries:
        for entry in entries:
            try:
                if entry.name.isdigit() and entry.stat().st_uid == uid:
                    yield int(entry.name)
            except OSError:
                continue


def _environment(pid: int) -> dict[str, str]:
    try:
        block = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (os.fsdecode(item).partition("=") for item in block.split(b"\0"))
    return {name: value for name, _, value in pairs}
