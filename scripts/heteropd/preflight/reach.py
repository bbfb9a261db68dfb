"""From a target to where its commands run, alone or in talk with another's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from heteropd.errors import BadInput
from heteropd.preflight import relay
from heteropd.preflight.model import Target
from heteropd.preflight.relay import Talk
from heteropd.preflight.runners import ContainerRunner, Here, Place, SshRunner


@dataclass(frozen=True)
class Reach:
    """From a target to where its commands run."""

    ssh_config: Path | None = None

    def __call__(self, target: Target) -> Place:
        if target.container:
            return ContainerRunner(target.container)
        return SshRunner(target.ssh, config=self.ssh_config) if target.ssh else Here()


@dataclass(frozen=True)
class Outside:
    """Everything that the doctor runs goes through these two; tests replace them."""

    reach: Callable[[Target], Place] = field(default_factory=Reach)
    talk: Talk = relay.talk


def ssh_config(given: str | None) -> Path | None:
    """The file that ``ssh_config=`` names. Raises BadInput where it is none."""
    if given is None:
        return None
    file = Path(given).expanduser().resolve()
    if not file.is_file():
        raise BadInput(
            "command line", "ssh_config", given, "is not a file", "name a configuration for ssh -F"
        )
    return file
