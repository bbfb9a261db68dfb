"""Another machine's Docker, reached through its socket over ssh.

docker-py's own ssh transport breaks in half of all `exec` calls, so the socket is forwarded instead and
docker-py sees a local one; a forward ends with the kit, however that ends. Which key, user, port and jump
host: the user's ssh configuration says it, or the file that HETEROPD_SSH_CONFIG names. Host keys are
verified, and nothing asks for a password.
"""

import atexit
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from heteropd.errors import MissingPrerequisite

SCHEME = "ssh://"
CONFIG_VARIABLE = "HETEROPD_SSH_CONFIG"
_REMOTE_SOCKET = "/var/run/docker.sock"
_PREFIX = "heteropd-ssh-"
_CONNECT_S = 10
_READY_S = 30.0
_LOST_S = 10.0  # for so long a destination that did not answer is not tried again: a command asks many times


@dataclass
class _Forward:
    process: subprocess.Popen[bytes]
    folder: tempfile.TemporaryDirectory[str]

    @property
    def socket(self) -> Path:
        return Path(self.folder.name) / "docker.sock"

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


_open: dict[str, _Forward] = {}
_lost: dict[str, tuple[float, MissingPrerequisite]] = {}
_lock = threading.RLock()  # a signal may come while it is held, and its handler ends containers


def local(url: str) -> str:
    """The address to connect to for a Docker host's ``url``: its own, or a forwarded socket for
    ssh://DESTINATION and ssh://DESTINATION/SOCKET.

    A forward is kept until the program ends, and made again when ssh has ended. Raises MissingPrerequisite
    with what ssh said, for a few seconds without asking again.
    """
    if not url.startswith(SCHEME):
        return url
    destination = url.removeprefix(SCHEME)
    with _lock:
        forward = _open.get(destination)
        if forward is not None and forward.process.poll() is not None:
            _open.pop(destination).close()
            forward = None
        if forward is None:
            forward = _open[destination] = _forward_unless_lost(destination)
        return f"unix://{forward.socket}"


def ssh(config: str | Path | None) -> list[str]:
    """ssh that never asks; ``config`` is a file for ``-F``, the user's own configuration without it."""
    words = ["ssh", *(["-F", str(config)] if config else [])]
    return [*words, "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}"]


def argv(destination: str, socket: Path) -> list[str]:
    """The command that forwards; a destination may end with /SOCKET, Docker's there. What it runs there
    ends with our end of the pipe, and ssh with that: a kit that was killed leaves no ssh behind."""
    host, slash, path = destination.partition("/")
    words = [*ssh(os.environ.get(CONFIG_VARIABLE)), "-T", "-L", f"{socket}:{slash + path or _REMOTE_SOCKET}"]
    for option in (
        "ExitOnForwardFailure=yes",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
        "ControlPath=none",
    ):
        words += ["-o", option]
    return [*words, host, "echo ready && exec cat >/dev/null"]


def _forward_unless_lost(destination: str) -> _Forward:
    at, why = _lost.pop(destination, (0.0, None))
    if why is not None and time.monotonic() - at < _LOST_S:
        _lost[destination] = at, why
        raise why
    try:
        return _forward(destination)
    except MissingPrerequisite as problem:
        _lost[destination] = time.monotonic(), problem
        raise


def _forward(destination: str) -> _Forward:
    _clear_dead()
    folder = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-")
    socket, errors = (Path(folder.name) / name for name in ("docker.sock", "errors"))
    try:
        with errors.open("wb") as stderr:  # a pipe that nobody reads would stop ssh when it is full
            process = subprocess.Popen(
                argv(destination, socket),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
    except OSError as problem:
        folder.cleanup()
        raise MissingPrerequisite(f"ssh cannot be started ({problem})", "install an OpenSSH client") from None
    forward = _Forward(process, folder)
    if not _ready(process):
        lines = errors.read_text(errors="replace").strip().splitlines()
        forward.close()
        host = destination.partition("/")[0]
        raise MissingPrerequisite(
            f"{host} does not answer over ssh ({lines[-1][-200:] if lines else 'no reason given'})",
            f"try `ssh -o BatchMode=yes {host} true`: keys, known hosts and names come from your ssh"
            " configuration",
        )
    return forward


def _clear_dead() -> None:
    """Remove the folders of kits that were killed: they carry its process id."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _ready(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None, "it is a pipe"
    deadline = time.monotonic() + _READY_S
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.2)[0]:
            return process.stdout.readline() == b"ready\n"
    return False


@atexit.register
def close() -> None:
    """End every forward."""
    with _lock:
        _lost.clear()
        while _open:
            _open.popitem()[1].close()
