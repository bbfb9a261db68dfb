"""Where facts are read: this machine, another one over ssh, a container. All of them through the one seam."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from heteropd.containers import ssh_tunnel
from heteropd.system import Completed, LocalRunner


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
