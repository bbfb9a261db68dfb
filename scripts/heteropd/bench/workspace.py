"""What every benchmark works with: a checkout, the two seams to the outside, and lines of progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from heteropd.config import env
from heteropd.console.heartbeat import heartbeat
from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.plan.environment import ENGINE_BIN, ENGINE_PYTHON, MODEL_DIR
from heteropd.prepare import engine
from heteropd.processes.record import recorded
from heteropd.system import Clock, CommandRunner

STATE_FOLDER = ".heteropd"


@dataclass(frozen=True)
class BenchWorkspace:
    """``root`` is the checkout whose environments, model and state folder are used; ``console`` gets the
    progress, each line with the seconds since ``began``; ``state_dir`` is of the topology, where it has one
    of its own."""

    root: Path
    runner: CommandRunner
    clock: Clock
    console: Console = field(default_factory=lambda: Console(stderr=True))
    began: float = 0.0
    state_dir: Path | None = None

    def say(self, text: str) -> None:
        """One line of progress."""
        elapsed = self.clock.now() - self.began
        self.console.print(Text(f"[{elapsed:5.0f} s] {text}"), soft_wrap=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say what is done in the block, at its start and every so often while it goes on."""
        self.say(what)
        with heartbeat(what, self.say):
            yield

    def folder(self, name: str) -> Path:
        """Where a benchmark keeps its results, or the logs of one of its runs."""
        return (self.state_dir or self.root / STATE_FOLDER) / "bench" / name

    def places(self) -> dict[str, str]:
        """What ``${ENGINE_PYTHON}``, ``${ENGINE_BIN}`` and ``${MODEL_DIR}`` of a plan stand for.

        Raises MissingPrerequisite when the engine's environment has not been made.
        """
        pins = env.load(self.root).standin
        python = engine.environment(pins).python(self.root)
        if not python.exists():
            raise MissingPrerequisite(f"{python} is not there", "`make prepare` makes it")
        return {
            ENGINE_PYTHON: str(python),
            ENGINE_BIN: str(python.parent),
            MODEL_DIR: str(engine.model_folder(pins)),
        }

    def require_idle(self) -> None:
        """Raise BadInput while a topology of this checkout runs: it would share the cores."""
        if recorded(self.root / STATE_FOLDER):
            raise BadInput("bench", "topology", "running", "would share the cores", "`make down` first")
