"""From a target to where its commands run, alone or in talk with another's."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from heteropd.containers.ssh_tunnel import CONFIG_VARIABLE
from heteropd.doctor import shells
from heteropd.doctor.model import HostTarget
from heteropd.doctor.shells import ContainerRunner, Here, RemoteShell, SshRunner, Talk
from heteropd.errors import BadInput


@dataclass(frozen=True)
class Reach:
    """From a target to where its commands run."""

    ssh_config: Path | None = None

    def __call__(self, target: HostTarget) -> RemoteShell:
        if target.container:
            return ContainerRunner(target.container)
        return SshRunner(target.ssh, config=self.ssh_config) if target.ssh else Here()


@dataclass(frozen=True)
class Outside:
    """Everything that the doctor runs goes through these two; tests replace them."""

    reach: Callable[[HostTarget], RemoteShell] = field(default_factory=Reach)
    talk: Talk = shells.talk


def use(given: str | None) -> Path | None:
    """`ssh_config`, and from now on for the hosts' engines too, and for the guard of a bring-up."""
    config = ssh_config(given)
    if config:
        os.environ[CONFIG_VARIABLE] = str(config)
    return config


def ssh_config(given: str | None) -> Path | None:
    """The file that ``ssh_config=`` names, or HETEROPD_SSH_CONFIG. Raises BadInput where it is none."""
    given = given or os.environ.get(CONFIG_VARIABLE)
    if not given:
        return None
    file = Path(given).expanduser().resolve()
    if not file.is_file():
        raise BadInput(
            "command line", "ssh_config", given, "is not a file", "name a configuration for ssh -F"
        )
    return file
