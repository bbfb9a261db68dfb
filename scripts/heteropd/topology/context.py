"""What the topology room needs from outside, in one place."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from heteropd.config.images import Image
from heteropd.processes.launcher import temporary_root
from heteropd.processes.sweep import Leftovers
from heteropd.system import Clock, CommandRunner, LocalRunner, SystemClock


@dataclass(frozen=True)
class Timeouts:
    """Seconds. ``ready``: from start until a completion; ``stop``: grace before SIGKILL; ``request``,
    ``health`` and ``token`` (of one engine): one HTTP answer; ``poll``: between two looks; ``heartbeat``:
    between lines without a terminal."""

    ready: float = 600.0
    stop: float = 15.0
    request: float = 60.0
    health: float = 2.0
    token: float = 10.0
    poll: float = 0.3
    heartbeat: float = 15.0


@dataclass(frozen=True)
class Context:
    """Where and with what a topology is run.

    ``engine_python`` (of stand-ins and the router), ``accelerator_python`` (of real engines) and
    ``model_dir`` (from a plan's ``model_source`` to a folder or hub id) are needed by `up` alone.
    ``memory_gib`` is what one engine on this machine takes, ``disk_gib`` what logs and
    temporary files may take. ``images`` says where things are in the kit's images, by what a role runs on.
    """

    root: Path
    console: Console
    engine_python: Path | None = None
    accelerator_python: Path | None = None
    model_dir: Callable[[str], Path | str] | None = None
    runner: CommandRunner = field(default_factory=LocalRunner)
    clock: Clock = field(default_factory=SystemClock)
    timeouts: Timeouts = field(default_factory=Timeouts)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    memory_gib: float = 3.0
    disk_gib: float = 1.0
    images: Mapping[str, Image] = field(default_factory=dict)
    state_dir: Path = field(default=Path())

    def __post_init__(self) -> None:
        chosen = self.state_dir if self.state_dir != Path() else self.root / ".heteropd"
        object.__setattr__(self, "state_dir", chosen.resolve())

    def log(self, role: str) -> Path:
        """The log of a role, both streams of it."""
        return self.state_dir / "logs" / f"{role}.log"

    @property
    def tmp_root(self) -> Path:
        """Folder of the roles' temporary folders."""
        return temporary_root(self.state_dir)

    @property
    def leftovers(self) -> Leftovers:
        """What any topology of this state folder may leave, besides what its own state says."""
        return Leftovers(folders=(self.tmp_root,))

    def say(self, text: str, style: str | None = None) -> None:
        """A line for whoever waits; not folded, so that paths and commands can be copied."""
        self.console.print(text, soft_wrap=True, markup=False, highlight=False, style=style)

    def shown(self, path: Path) -> str:
        """The path as a user would type it in the repository."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)
