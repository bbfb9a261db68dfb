"""Finding every process of a topology, also those whose parent has died or whose start was never recorded.

Each child carries a tag in its environment, from the moment it exists as a program of its own. The tag
is what makes a bring-up safe against a ``kill -9`` between starting a process and writing down its pid.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from heteropd.processes.identity import Identity, alive, identify, in_exec

TAG = "HETEROPD_TOPOLOGY"
GUARD_TAG = "HETEROPD_GUARD"
ROLE = "HETEROPD_ROLE"
_EXEC_LOOKS = 500


def tag(topology_id: str, state_dir: Path, variable: str = TAG) -> dict[str, str]:
    """The environment that makes a process findable by `tagged`."""
    return {variable: f"{topology_id}@{state_dir}"}


def tagged(
    state_dir: Path, topology_id: str | None = None, role: str | None = None, variable: str = TAG
) -> set[Identity]:
    """Living processes of this user that belong to ``state_dir``; of one topology or role where given.

    The caller and its ancestors never count, whatever their environment says.
    """
    ours = _lineage()
    found = set()
    for pid in _own_pids():
        block = _environment(pid)
        if f"{variable}=".encode() not in block or pid in ours:  # nearly all: not worth taking apart
            continue
        variables = _parsed(block)
        name, _, folder = variables.get(variable, "").partition("@")
        if folder != str(state_dir) or topology_id not in (None, name):
            continue
        if role is not None and variables.get(ROLE) != role:
            continue
        process = identify(pid)
        if process is not None and alive(process):
            found.add(process)
    return found


def descendants(leader: Identity) -> set[Identity]:
    """The process, its descendants and everything in its session or process group. Empty when it is gone."""
    if not alive(leader):
        return set()
    pids = {leader.pid}
    try:
        pids |= {child.pid for child in psutil.Process(leader.pid).children(recursive=True)}
    except psutil.Error:
        return set()
    pids |= {pid for pid in psutil.pids() if leader.pid in _groups(pid)}
    return {process for process in map(identify, pids - _lineage()) if process and alive(process)}


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


def _environment(pid: int) -> bytes:
    """Its environment. A program that was begun a moment ago has none yet, for milliseconds on a busy
    machine: it is waited for, or what ends everything would miss it."""
    block = _read_environment(pid)
    for _ in range(_EXEC_LOOKS):
        if block or block is None:
            break
        waiting = in_exec(pid)
        block = _read_environment(pid)  # after the question: what was in place then is read now
        if not waiting:
            break
        time.sleep(0.002)
    return block or b""


def _read_environment(pid: int) -> bytes | None:
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:  # noqa: PTH123 - a thousand times in a bring-up
            return stream.read()
    except OSError:
        return None


def _parsed(block: bytes) -> dict[str, str]:
    pairs = (os.fsdecode(item).partition("=") for item in block.split(b"\0"))
    return {name: value for name, _, value in pairs}
