"""The program of the watchdog: waits for the kit's death, and becomes what ends what the kit did not.

    python -S -m heteropd.processes.guard STATE_DIR TOPOLOGY_ID KIT_PID KIT_TICKS

One stands beside every bring-up, so it loads next to nothing; what it takes to end a topology is another
program (`heteropd.processes.sweep`), which it becomes when that is needed.
"""

import os
import select
import sys
from pathlib import Path

from heteropd.processes.identity import Identity, alive, boot_id
from heteropd.processes.record import ending_of, recorded

_SWEEP = "heteropd.processes.sweep"


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


def unfinished(state_dir: Path, topology_id: str) -> bool:
    """True unless the topology came up and nobody began to end it."""
    state = recorded(state_dir)
    up = state.get("id") == topology_id and state.get("phase") == "up"
    return not up or ending_of(state_dir) == topology_id


def main(argv: list[str]) -> None:
    """Watch, then end what is unfinished."""
    state_dir, topology_id = argv[:2]
    watch(Identity(int(argv[2]), int(argv[3]), boot_id()))
    if unfinished(Path(state_dir), topology_id):
        os.execv(sys.executable, [sys.executable, "-m", _SWEEP, state_dir, topology_id])  # noqa: S606 - no shell


if __name__ == "__main__":
    main(sys.argv[1:])
