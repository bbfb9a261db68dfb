"""The stand-in engine's environment and the models it serves, made on first use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.prepare import environments
from heteropd.prepare.environments import Environment, Say
from heteropd.seams import Runner
from heteropd.spec.pins import StandinPins


def environment(pins: StandinPins) -> Environment:
    """The engine's environment as the stand-in's pin set describes it."""
    return Environment(
        name="engine-cpu",
        locks=(pins.lock,),
        special_lock=pins.torch.lock,
        special_index=pins.torch.index,
    )


def ensure(pins: StandinPins, root: Path, runner: Runner, say: Say) -> Environment:
    """Make the engine's environment unless it is current. Raises `MissingPrerequisite`, `KitError`."""
    wanted = environment(pins)
    if not environments.is_current(wanted, root):
        _suits(pins)
        environments.ensure(wanted, root, runner, say)
    return wanted


def model_folder(pins: StandinPins, environ: dict[str, str] | None = None) -> Path:
    """Where the default model lies once converted: shared by all checkouts of a user, named by its source.

    ``$XDG_CACHE_HOME/heteropd/models/NAME-HASH``; the hash is the packaged file's, so that another
    version of the package is another folder.
    """
    environ = dict(os.environ) if environ is None else environ
    base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    model = pins.model
    return base / "heteropd" / "models" / f"{model.served_name.rpartition('/')[2]}-{model.sha256[:12]}"


def ensure_model(pins: StandinPins, root: Path, runner: Runner, say: Say) -> Path:
    """The default model as safetensors, converted from its package on first use. Raises `KitError`."""
    folder = model_folder(pins)
    if (folder / "config.json").exists():
        return folder
    engine = environment(pins)
    gguf = _packaged_file(engine, root, pins)
    say(f"Converting {pins.model.served_name} to {folder} (once per user) …")
    folder.parent.mkdir(parents=True, exist_ok=True)
    argv = [str(engine.python(root)), "-m", "heteropd.standin.convert"]
    argv += ["--gguf", str(gguf), "--sha256", pins.model.sha256, "--out", str(folder)]
    done = runner.run(argv, timeout_s=900)
    if done.code != 0:
        last = (done.err.strip() or done.out.strip() or "no output").splitlines()[-1]
        raise KitError(f"converting {gguf.name} failed with exit status {done.code}: {last}")
    return folder


def _packaged_file(engine: Environment, root: Path, pins: StandinPins) -> Path:
    found = sorted(engine.path(root).glob(f"lib/python*/site-packages/{pins.model.file}"))
    if not found:
        raise BadInput(
            "env/pins/standin.yaml", "model.file", pins.model.file,
            f"is not in the environment of {pins.model.package}", "name the file as the package has it",
        )  # fmt: skip
    return found[0]


def _suits(pins: StandinPins) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version not in pins.python:
        raise MissingPrerequisite(
            f"the stand-in engine is locked for CPython {', '.join(pins.python)}, and this is {version}",
            f"`make PYTHON=python{pins.python[-1]}` after removing .venv",
        )
    if os.uname().machine != "x86_64" or sys.platform != "linux":
        raise MissingPrerequisite(
            f"the stand-in engine is locked for Linux on x86-64, and this is {sys.platform} on"
            f" {os.uname().machine}",
            "run it there, or use hosts=env/hosts/….yaml",
        )
