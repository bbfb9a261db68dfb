"""Where commands run: this machine, another one over ssh, a container; and two commands that talk.

Of two that talk, a line ``> …`` of one's stdout is the other's stdin; everything else is kept. When one ends,
the other's stdin does, by which it knows; at the time limit both are ended.
"""

import os
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from threading import Thread

from heteropd.containers import ssh_tunnel
from heteropd.doctor.model import HostTarget
from heteropd.doctor.probe import Reader
from heteropd.errors import BadInput
from heteropd.system import Completed, LocalRunner

Talk = Callable[[Sequence[str], Sequence[str], float], tuple[Completed, Completed]]

_NOT_FOUND, _TIMED_OUT = 127, 124
_LAST_WORDS_S = 5.0


@dataclass(frozen=True)
class Shell:
    """Where commands run: here, or with ``before`` in front of them elsewhere; ``quoted``: as one word, which
    a shell there takes apart again."""

    before: tuple[str, ...] = ()
    quoted: bool = False
    local: Reader = field(default_factory=LocalRunner)

    def command(self, argv: Sequence[str]) -> list[str]:
        """What is run on this machine, for commands that talk to one another."""
        return [*self.before, *([shlex.join(argv)] if self.quoted else argv)]

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        return self.local.run(self.command(argv), timeout_s=timeout_s)


def over_ssh(destination: str, config: Path | None) -> Shell:
    """Another machine; what needs a password fails. ``config``: for ``ssh -F``, else the user's own."""
    return Shell((*ssh_tunnel.ssh(config), destination, "--"), quoted=True)


@dataclass(frozen=True)
class Reach:
    """From a target to where its commands run."""

    ssh_config: Path | None = None

    def __call__(self, target: HostTarget) -> Shell:
        if target.container:
            return Shell(("docker", "exec", target.container))
        return over_ssh(target.ssh, self.ssh_config) if target.ssh else Shell()


def use(given: str | None) -> Path | None:
    """`ssh_config`, and from now on for the hosts' engines too, and for the guard of a bring-up."""
    config = ssh_config(given)
    if config:
        os.environ[ssh_tunnel.CONFIG_VARIABLE] = str(config)
    return config


def ssh_config(given: str | None) -> Path | None:
    """The file that ``ssh_config=`` names, or HETEROPD_SSH_CONFIG. Raises BadInput where it is none."""
    given = given or os.environ.get(ssh_tunnel.CONFIG_VARIABLE)
    if not given:
        return None
    file = Path(given).expanduser().resolve()
    if not file.is_file():
        fix = "name a configuration for ssh -F"
        raise BadInput("command line", "ssh_config", given, "is not a file", fix)
    return file


class _Side:
    """One of two commands that talk."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv, self.out, self._code = tuple(argv), "", _NOT_FOUND
        self.child: Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been read
        try:
            self.child = Popen(self.argv, stdin=PIPE, stdout=PIPE, stderr=self._errors)
        except OSError as missing:
            self._errors.write(str(missing).encode())

    def pass_on(self, other: "_Side") -> None:
        """Read what it prints to the end: the other's lines to the other, whose stdin ends then."""
        stdin = other.child.stdin if other.child else None
        for line in (self.child.stdout if self.child else None) or ():
            if not line.startswith(b"> "):
                self.out += line.decode(errors="replace")
            elif stdin:
                with suppress(OSError):  # the other may have ended
                    stdin.write(line[2:])
                    stdin.flush()
        if stdin:
            with suppress(OSError):
                stdin.close()

    def end(self, deadline: float) -> None:
        """Wait for its end, and bring that about at the deadline."""
        if self.child and self.child.returncode is None:
            try:
                self._code = self.child.wait(max(deadline - time.monotonic(), 0))
            except TimeoutExpired:
                self._code = _TIMED_OUT
                self.child.kill()
                self.child.wait()

    def completed(self) -> Completed:
        with self._errors as errors:
            errors.seek(0)
            return Completed(self.argv, self._code, self.out, errors.read().decode(errors="replace"))


def talk(one: Sequence[str], other: Sequence[str], seconds: float) -> tuple[Completed, Completed]:
    """Run both to their ends. Never raises for a non-zero exit or a missing program."""
    deadline = time.monotonic() + seconds
    first, second = sides = _Side(one), _Side(other)
    threads = [Thread(target=side.pass_on, args=(peer,), daemon=True) for side, peer in (sides, sides[::-1])]
    try:
        for thread in threads:
            thread.start()
        first.end(deadline)
        second.end(deadline)
    finally:  # an interrupt, say
        first.end(0)
        second.end(0)
    for thread in threads:
        thread.join(_LAST_WORDS_S)
    return first.completed(), second.completed()


@dataclass(frozen=True)
class Outside:
    """Everything that the doctor runs goes through these two; tests replace them."""

    reach: Callable[[HostTarget], Shell] = field(default_factory=Reach)
    talk: Talk = talk
