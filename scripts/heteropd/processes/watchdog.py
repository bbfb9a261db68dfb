"""A watchman beside every bring-up: ends the topology when the kit is killed before it could.

Needed because whoever runs the kit may be impatient: nox gives a session half a second between an
interrupt and SIGKILL.

    python -m heteropd.processes.watchdog STATE_DIR TOPOLOGY_ID KIT_PID KIT_TICKS
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import heteropd
from heteropd.processes.identity import Identity, alive, boot_id, identify, send
from heteropd.processes.process_tree import GUARD_MARK, mark, marked
from heteropd.processes.sweep import Leftovers, ending_of, forget, recorded, sweep
from heteropd.system import Clock, CommandRunner, SystemClock

LOCK_FILE = "lock"
_QUIET_S, _LOOKS = 0.1, 5


def start(
    state_dir: Path, topology_id: str, runner: CommandRunner, environ: Mapping[str, str]
) -> Identity | None:
    """Start the guard of a topology; it watches the calling process."""
    kit = identify(os.getpid())
    watched = [str(kit.pid), str(kit.ticks)] if kit else []
    env = {**environ, **mark(topology_id, state_dir, GUARD_MARK)}
    env["PYTHONPATH"] = str(Path(heteropd.__file__).parents[1])
    argv = [sys.executable, "-m", __name__, str(state_dir), topology_id, *watched]
    return identify(runner.spawn(argv, env=env, log=Path(os.devnull), cwd=state_dir))


def stop(state_dir: Path, topology_id: str | None = None) -> None:
    """End the guards of one topology or, for None, of all that ``state_dir`` ever had."""
    for process in marked(state_dir, topology_id, variable=GUARD_MARK):
        send(process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(process.pid, 0)


def watch(kit: Identity) -> None:
    """Return when the kit is dead."""
    try:
        handle = os.pidfd_open(kit.pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    while alive(kit):
        poll.poll()


def main(argv: list[str], clock: Clock) -> None:
    """Watch, then end what the kit did not."""
    state_dir, topology_id = Path(argv[0]), argv[1]
    watch(Identity(int(argv[2]), int(argv[3]), boot_id()))
    state = recorded(state_dir)
    ready = state.get("id") == topology_id and state.get("phase") == "up"
    if ready and ending_of(state_dir) != topology_id:
        return
    leftovers = _leftovers(state) if state.get("id") == topology_id else Leftovers()
    missed: tuple[str, ...] = ()
    for _ in range(_LOOKS):
        # The kit may have died between vfork and exec: such a child shows its mark a moment later.
        missed = sweep(state_dir, topology_id, clock, leftovers)
        clock.sleep(_QUIET_S)
    if not missed:
        _forget_unless_busy(state_dir, topology_id)


def _leftovers(state: Mapping[str, object]) -> Leftovers:
    folders, segments, engines = state.get("folders"), state.get("segments"), state.get("engines")
    return Leftovers(
        tuple(Path(one) for one in folders) if isinstance(folders, list) else (),
        tuple(segments) if isinstance(segments, list) else (),
        tuple(engines) if isinstance(engines, list) else (),
    )


def _forget_unless_busy(state_dir: Path, topology_id: str) -> None:
    with (state_dir / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        forget(state_dir, topology_id)


if __name__ == "__main__":
    main(sys.argv[1:], SystemClock())
