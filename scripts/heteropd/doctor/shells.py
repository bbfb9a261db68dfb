"""Where commands run: this machine, another one over ssh, a container; and two commands that talk.

Of two that talk, a line ``> …`` of one's stdout is the other's stdin; everything else is kept. When one ends,
the other's stdin does, by which it knows; at the time limit both are ended.
"""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from heteropd.containers import ssh_tunnel
from heteropd.system import Completed, LocalRunner, SystemClock

Talk = Callable[[Sequence[str], Sequence[str], float], tuple[Completed, Completed]]

_NOT_FOUND, _TIMED_OUT = 127, 124


class Reader(Protocol):
    """The part of a Runner that reading facts needs."""

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run to the end; never raises for a non-zero exit or a missing program."""
        ...


class RemoteShell(Reader, Protocol):
    """A reader that also says what it would run here, for commands that talk to one another."""

    def command(self, argv: Sequence[str]) -> list[str]: ...


@dataclass(frozen=True)
class Here:
    """Runs commands on this machine."""

    local: Reader = field(default_factory=LocalRunner)

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        return self.local.run(argv, timeout_s=timeout_s)


@dataclass(frozen=True)
class SshRunner:
    """Runs commands on another machine. Never asks for a password: what needs one fails.

    ``config`` is a file for ``ssh -F``; without it, the user's own configuration counts.
    """

    destination: str
    local: Reader = field(default_factory=LocalRunner)
    config: Path | None = None

    def command(self, argv: Sequence[str]) -> list[str]:
        return [*ssh_tunnel.ssh(self.config), self.destination, "--", shlex.join(argv)]

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        return self.local.run(self.command(argv), timeout_s=timeout_s)


@dataclass(frozen=True)
class ContainerRunner:
    """Runs commands in a running container of this machine."""

    container: str
    local: Reader = field(default_factory=LocalRunner)

    def command(self, argv: Sequence[str]) -> list[str]:
        return ["docker", "exec", "-i", self.container, *argv]

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        return self.local.run(["docker", "exec", self.container, *argv], timeout_s=timeout_s)


class _Side:
    """One of the two commands."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = tuple(argv)
        self.out: list[str] = []
        self.err: list[str] = []
        self.late = False
        self.child: subprocess.Popen[str] | None = None
        try:
            pipe = subprocess.PIPE
            self.child = subprocess.Popen(list(argv), stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        except OSError as missing:
            self.err = [str(missing)]

    def hear(self, line: str) -> None:
        """Pass a line on to its stdin; one that has ended hears nothing."""
        try:
            stdin = self._stream("stdin")
            stdin.write(line)
            stdin.flush()
        except (OSError, ValueError):
            return

    def deafen(self) -> None:
        """Close its stdin."""
        try:
            self._stream("stdin").close()
        except (OSError, ValueError):
            return

    def listen_to(self, other: _Side) -> list[threading.Thread]:
        """Threads that read what this one says, the last of them until it ends."""
        if self.child is None:
            other.deafen()
            return []

        def out() -> None:
            for line in self._stream("stdout"):
                other.hear(line[2:]) if line.startswith("> ") else self.out.append(line)
            other.deafen()

        def err() -> None:
            self.err.extend(self._stream("stderr"))

        threads = [threading.Thread(target=read, daemon=True) for read in (out, err)]
        for thread in threads:
            thread.start()
        return threads

    def finish(self, seconds: float) -> None:
        """Wait for its end, and make one after ``seconds``."""
        if self.child is None:
            return
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.late = True
            self.child.kill()
            self.child.wait()

    def completed(self) -> Completed:
        code = _NOT_FOUND if self.child is None else _TIMED_OUT if self.late else self.child.returncode
        return Completed(self.argv, code, "".join(self.out), "".join(self.err))

    def _stream(self, name: str) -> IO[str]:
        stream: IO[str] | None = getattr(self.child, name, None)
        if stream is None:
            raise ValueError("not running")
        return stream


def talk(one: Sequence[str], other: Sequence[str], seconds: float) -> tuple[Completed, Completed]:
    """Run both to their ends. Never raises for a non-zero exit or a missing program."""
    clock, sides = SystemClock(), (_Side(one), _Side(other))
    try:
        threads = [*sides[0].listen_to(sides[1]), *sides[1].listen_to(sides[0])]
        end = clock.now() + seconds
        for side in sides:
            side.finish(max(0.0, end - clock.now()))
    finally:
        for side in sides:
            side.finish(0)
    for thread in threads:
        thread.join(5.0)
    return sides[0].completed(), sides[1].completed()
