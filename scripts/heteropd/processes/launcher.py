"""The process runtime: a role of the plan as a process of this machine, in a session of its own."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from heteropd.errors import MissingPrerequisite
from heteropd.plan.environment import ChildEnvironment
from heteropd.processes.identity import Identity, identify
from heteropd.system import CommandRunner

# A Unix socket's path ends at 107 bytes; engines make sockets such as ROOT/prefill-0/<36 characters>.
_LONGEST_ROOT = 45


@dataclass(frozen=True)
class Launch:
    """A role, ready to start. ``env`` may hold secrets of the caller: it is never written anywhere."""

    name: str
    argv: list[str]
    env: ChildEnvironment
    log: Path
    tmp: Path


def temporary_root(state_dir: Path) -> Path:
    """Folder of the temporary folders of what a state folder's commands start: inside of it, or in /tmp where
    its path is too long.

    It follows from the state folder alone, so that it can be removed even when the state is lost.
    """
    inside = state_dir / "tmp"
    if len(str(inside)) <= _LONGEST_ROOT:
        return inside
    name = hashlib.sha256(str(state_dir).encode()).hexdigest()[:12]
    return Path("/tmp") / f"heteropd-{os.getuid()}-{name}"  # noqa: S108 - must be ours when it is made


def start(launch: Launch, runner: CommandRunner, cwd: Path) -> Identity:
    """Start the role and return who it is.

    Raises MissingPrerequisite when its program cannot be run at all.
    """
    for folder in (launch.tmp, launch.log.parent):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as problem:
            why = f"{launch.name}: {folder} cannot be made ({problem.strerror})"
            raise MissingPrerequisite(why, "free or repair that place") from None
    try:
        pid = runner.spawn(launch.argv, env=launch.env.variables, log=launch.log, cwd=cwd)
    except OSError as problem:
        raise MissingPrerequisite(
            f"{launch.name}: {launch.argv[0]} cannot be run ({problem.strerror})",
            "make the engine's environment again with `make prepare`",
        ) from None
    process = identify(pid)
    if process is None:
        raise MissingPrerequisite(f"{launch.name}: /proc shows no process {pid}", "mount /proc")
    return process


def exit_status(process: Identity) -> int | None:
    """Exit status of a dead child of ours, negative for a signal; None while it lives or when unknown."""
    try:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None
