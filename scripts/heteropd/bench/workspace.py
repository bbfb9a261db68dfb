"""What every benchmark works with: a checkout, and the two seams to the outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from heteropd.config import env
from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.plan.environment import ENGINE_BIN, ENGINE_PYTHON, MODEL_DIR
from heteropd.prepare import engine
from heteropd.processes.record import recorded
from heteropd.system import Clock, CommandRunner

STATE_FOLDER = ".heteropd"


@dataclass(frozen=True)
class BenchWorkspace:
    """``root`` is the checkout whose environments, model and state folder are used."""

    root: Path
    runner: CommandRunner
    clock: Clock

    def folder(self, name: str) -> Path:
        """Where a benchmark keeps its results, or the logs of one of its runs."""
        return self.root / STATE_FOLDER / "bench" / name

    def places(self) -> dict[str, str]:
        """What ``${ENGINE_PYTHON}``, ``${ENGINE_BIN}`` and ``${MODEL_DIR}`` of a plan stand for.

        Raises MissingPrerequisite when the engine's environment has not been made.
        """
        pins = env.load(self.root).standin
        python = engine.environment(pins).python(self.root)
        if not python.exists():
            raise MissingPrerequisite(f"{python} is not there", "`make bench` or `make case1` makes it")
        return {
            ENGINE_PYTHON: str(python),
            ENGINE_BIN: str(python.parent),
            MODEL_DIR: str(engine.model_folder(pins)),
        }

    def require_idle(self) -> None:
        """Raise BadInput while a topology of this checkout runs: it would share the cores."""
        if recorded(self.root / STATE_FOLDER):
            raise BadInput("bench", "topology", "running", "would share the cores", "`make down` first")
