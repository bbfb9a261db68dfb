"""What the images room works with, in one place."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from heteropd.config.env import Env
from heteropd.system import Clock, CommandRunner, LocalRunner, SystemClock


@dataclass(frozen=True)
class BuildContext:
    """The checkout, its env data, and the seams to the outside."""

    root: Path
    env: Env
    console: Console
    runner: CommandRunner = field(default_factory=LocalRunner)
    clock: Clock = field(default_factory=SystemClock)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def state(self) -> Path:
        """What the kit keeps beside the checkout's own files."""
        return self.root / ".heteropd"

    @property
    def logs(self) -> Path:
        """Where builds write what they do."""
        return self.state / "logs"

    def say(self, text: str) -> None:
        """A line for whoever waits."""
        self.console.print(text, soft_wrap=True, markup=False)
