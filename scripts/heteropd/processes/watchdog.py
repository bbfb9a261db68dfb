"""A watchman beside every bring-up: ends the topology when the kit is killed before it could.

Needed because whoever runs the kit may be impatient: nox gives a session half a second between an
interrupt and SIGKILL. The watchman itself is `heteropd.processes.guard`.
"""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from heteropd.processes.identity import Identity, identify, send
from heteropd.processes.process_tree import GUARD_TAG, tag, tagged
from heteropd.system import CommandRunner, own_python

_PROGRAM = "heteropd.processes.guard"


def start(
    state_dir: Path, topology_id: str, runner: CommandRunner, environ: Mapping[str, str]
) -> Identity | None:
    """Start the guard of a topology; it watches the calling process."""
    kit = identify(os.getpid())
    watched = [str(kit.pid), str(kit.ticks)] if kit else []
    env = {**own_python(environ), **tag(topology_id, state_dir, GUARD_TAG)}
    argv = [sys.executable, "-P", "-S", "-m", _PROGRAM, str(state_dir), topology_id, *watched]
    return identify(runner.spawn(argv, env=env, log=Path(os.devnull), cwd=state_dir))


def stop(state_dir: Path, topology_id: str | None = None) -> None:
    """End the guards of one topology or, for None, of all that ``state_dir`` ever had."""
    for process in tagged(state_dir, topology_id, variable=GUARD_TAG):
        send(process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(process.pid, 0)
