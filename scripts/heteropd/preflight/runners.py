"""Where facts are read: this machine, another one over ssh, a container. All of them through the one seam."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from heteropd.seams import Completed, LocalRunner


class Reader(Protocol):
    """The part of a Runner that reading facts needs."""

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run to the end; never raises for a non-zero exit or a missing program."""
        ...


@dataclass(frozen=True)
class SshRunner:
    """Runs commands on another machine. Never asks for a password: what needs one fails."""

    destination: str
    local: Reader = field(default_factory=LocalRunner)

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
        return self.local.run(
            ["ssh", *options, self.destination, "--", shlex.join(argv)], timeout_s=timeout_s
        )


@dataclass(frozen=True)
class ContainerRunner:
    """Runs commands in a running container of this machine."""

    container: str
    local: Reader = field(default_factory=LocalRunner)

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        return self.local.run(["docker", "exec", self.container, *argv], timeout_s=timeout_s)
