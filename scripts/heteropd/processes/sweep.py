"""Ending all of a topology at once and removing what it left. Safe to repeat, and to run twice at a time.

    python -m heteropd.processes.sweep STATE_DIR TOPOLOGY_ID

is what the watchdog becomes when the kit was killed before it could end its topology itself.
"""

import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from heteropd.containers import stopping
from heteropd.processes import shared_memory, terminate
from heteropd.processes.launcher import temporary_root
from heteropd.processes.process_tree import tagged
from heteropd.processes.record import forget, recorded
from heteropd.system import Clock, SystemClock

LOCK_FILE = "lock"
_PAUSE_S, _LOOKS = 0.1, 5


@dataclass(frozen=True)
class Leftovers:
    """What a topology owns beside its processes: folders for temporary files, shared memory segments, and
    containers, by the addresses of the Docker hosts that have them."""

    folders: tuple[Path, ...] = ()
    segments: tuple[str, ...] = ()
    docker_hosts: tuple[str, ...] = ()


def sweep(state_dir: Path, topology_id: str | None, clock: Clock, leftovers: Leftovers) -> tuple[str, ...]:
    """Kill every process and remove every container of the topology (of any topology of ``state_dir`` for
    None), then clean up. Returns the Docker hosts that did not answer: what they have may run on."""
    before = shared_memory.segments(process.pid for process in tagged(state_dir, topology_id))
    terminate.kill(lambda: tagged(state_dir, topology_id), clock)
    swept = stopping.sweep(leftovers.docker_hosts, state_dir, topology_id)
    clean(leftovers, before)
    return swept.missed


def runs_on(missed: Iterable[str]) -> str:
    """What to say of Docker hosts that did not answer when everything was to be ended."""
    return f"no answer from {', '.join(missed)}: what was started there may run on until `make down`"


def clean(leftovers: Leftovers, segments: set[str] | None = None) -> list[str]:
    """Remove temporary folders and unused segments; returns the paths of the segments removed."""
    for folder in leftovers.folders:
        shutil.rmtree(folder, ignore_errors=True)
    return shared_memory.remove_unused({*leftovers.segments, *(segments or ())})


def main(argv: list[str], clock: Clock) -> None:
    """End what a killed kit did not, and forget it, unless another command is at work by now."""
    state_dir, topology_id = Path(argv[0]), argv[1]
    state = recorded(state_dir)
    leftovers = Leftovers((temporary_root(state_dir),))
    if state.get("id") == topology_id:
        leftovers = _leftovers(state)
    missed: tuple[str, ...] = ()
    for _ in range(_LOOKS):
        # The kit may have died between vfork and exec: such a child shows its tag a moment later.
        missed = sweep(state_dir, topology_id, clock, leftovers)
        clock.sleep(_PAUSE_S)
    if missed:
        return
    try:
        with FileLock(state_dir / LOCK_FILE, blocking=False):
            forget(state_dir, topology_id)
    except (Timeout, OSError):
        return


def _leftovers(state: Mapping[str, object]) -> Leftovers:
    folders, segments, urls = state.get("folders"), state.get("segments"), state.get("engines")
    return Leftovers(
        tuple(map(Path, folders)) if isinstance(folders, list) else (),
        tuple(segments) if isinstance(segments, list) else (),
        tuple(urls) if isinstance(urls, list) else (),
    )


if __name__ == "__main__":
    main(sys.argv[1:], SystemClock())
