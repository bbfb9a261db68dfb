"""Where commands run: this machine, another one over ssh, a container; and two commands that talk.

Of two that talk, a line ``> …`` of one's stdout is the other's stdin; everything else is kept. When one ends,
the other's stdin does, by which it knows; at the time limit both are ended.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heteropd.containers import ssh_tunnel
from heteropd.doctor.model import HostTarget
from heteropd.doctor.probe import Reader
from heteropd.errors import BadInput
from heteropd.system import Completed, LocalRunner

Talk = Callable[[Sequence[str], Sequence[str], float], tuple[Completed, Completed]]

_NOT_FOUND, _TIMED_OUT = 127, 124
_LONGEST_LINE = 2**24
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
        self.argv = tuple(argv)
        self.out, self.err, self.late = "", "", False
        self.child: Process | None = None

    async def start(self) -> None:
        try:
            self.child = await asyncio.create_subprocess_exec(
                *self.argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=_LONGEST_LINE
            )
        except OSError as missing:
            self.err = str(missing)

    async def pass_on(self, other: _Side) -> None:
        """Read what it prints to the end: the other's lines to the other."""
        stdin = other.child.stdin if other.child else None
        if self.child and self.child.stdout:
            async for line in self.child.stdout:
                if not line.startswith(b"> "):
                    self.out += line.decode(errors="replace")
                elif stdin and not stdin.is_closing():
                    stdin.write(line[2:])
        if stdin:
            stdin.close()

    async def complain(self) -> None:
        """Read what it says to stderr, and wait for its end."""
        if self.child and self.child.stderr:
            async for line in self.child.stderr:
                self.err += line.decode(errors="replace")
            await self.child.wait()

    def end(self) -> None:
        if self.child and self.child.returncode is None:
            self.late = True
            self.child.kill()

    def completed(self) -> Completed:
        code = _TIMED_OUT if self.late else self.child.returncode if self.child else _NOT_FOUND
        return Completed(self.argv, _TIMED_OUT if code is None else code, self.out, self.err)


def talk(one: Sequence[str], other: Sequence[str], seconds: float) -> tuple[Completed, Completed]:
    """Run both to their ends. Never raises for a non-zero exit or a missing program."""
    return asyncio.run(_talk(_Side(one), _Side(other), seconds))


async def _talk(one: _Side, other: _Side, seconds: float) -> tuple[Completed, Completed]:
    await asyncio.gather(one.start(), other.start())
    work = [one.pass_on(other), other.pass_on(one), one.complain(), other.complain()]
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, timeout=seconds)
    finally:
        one.end()
        other.end()
    await asyncio.wait(tasks, timeout=_LAST_WORDS_S)
    for task in tasks:
        task.cancel()
    return one.completed(), other.completed()


@dataclass(frozen=True)
class Outside:
    """Everything that the doctor runs goes through these two; tests replace them."""

    reach: Callable[[HostTarget], Shell] = field(default_factory=Reach)
    talk: Talk = talk
