"""What the verbs work with on this machine: the engine's environment, the default model, the state folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from heteropd.prepare import engine
from heteropd.seams import LocalRunner
from heteropd.spec import env
from heteropd.topology import Context, Timeouts

STATE_VARIABLE = "HETEROPD_STATE_DIR"


def prepare(root: Path) -> Path:
    """Make the engine's environment and the default model unless they are there; the model's folder."""
    pins = env.load(root).standin
    runner = LocalRunner()
    engine.ensure(pins, root, runner, _say)
    return engine.ensure_model(pins, root, runner, _say)


def context(root: Path, model: Path | None = None) -> Context:
    """What topologies of this checkout run with; ``model`` stands for ``package:…`` in a plan."""
    known = env.load(root)
    return Context(
        root=root,
        console=Console(),
        engine_python=engine.environment(known.standin).python(root),
        model_dir=lambda source: model if model and source.startswith("package:") else source,
        timeouts=Timeouts(**known.defaults.timeouts.model_dump()),
        state_dir=Path(os.environ.get(STATE_VARIABLE, root / ".heteropd")),
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
