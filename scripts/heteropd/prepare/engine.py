"""The stand-in engine's environment and the model it serves by default, made on first use."""

import ctypes
import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from docker.errors import ContainerError, ImageNotFound

from heteropd.config.pins import StandinPins
from heteropd.console.heartbeat import heartbeat
from heteropd.containers import docker_host
from heteropd.containers.lifecycle import NO_ENTRYPOINT
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.prepare import environments
from heteropd.prepare.environments import Environment, Say
from heteropd.system import CommandRunner
from heteropd_engine import convert

DTYPE = "float32"


def environment(pins: StandinPins) -> Environment:
    """The engine's environment as the stand-in's pin set describes it."""
    projects = (environments.ENGINE_PROJECT,)
    return Environment("engine-cpu", (pins.lock,), pins.torch.lock, pins.torch.index, projects)


def ensure(pins: StandinPins, root: Path, runner: CommandRunner, say: Say) -> Environment:
    """Make the engine's environment unless it is current. Raises `MissingPrerequisite`, `KitError`."""
    wanted = environment(pins)
    if not environments.is_current(wanted, root):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        refuse_unsuitable(pins, version, sys.platform, platform.machine())
        require_libnuma()
        environments.ensure(wanted, root, runner, say)
    return wanted


def model_folder(pins: StandinPins, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the default model lies once converted: ``$XDG_CACHE_HOME/heteropd/models/NAME-VERSION-DTYPE``.

    Shared by all checkouts of a user, so that a fresh clone converts nothing twice.
    """
    base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = pins.model.served_name.rpartition("/")[2]
    return base / "heteropd" / "models" / f"{name}-{pins.model.version}-{DTYPE}"


def require_writable(pins: StandinPins, environ: Mapping[str, str] = os.environ) -> None:
    """Raise BadInput where the default model could not be kept: before minutes are spent on the rest."""
    folder = model_folder(pins, environ)
    if (folder / "config.json").exists():
        return
    there = next(parent for parent in folder.parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return
    except OSError as problem:
        fix = "set XDG_CACHE_HOME to a folder that can be written"
        text = f"cannot keep the converted model: {there}: {problem.strerror}"
        raise BadInput("environment", "XDG_CACHE_HOME", str(folder), text, fix) from None


def ensure_model(pins: StandinPins, root: Path, runner: CommandRunner, say: Say) -> Path:
    """The default model as safetensors, converted from its package on first use. Raises `KitError`."""
    folder = model_folder(pins)
    if (folder / "config.json").exists():
        return folder
    model, engine = pins.model, environment(pins)
    say(f"Converting {model.served_name} ({model.format}) to {folder} (once per user) …")
    found = next(engine.path(root).glob(f"lib/python*/site-packages/{model.file}"), None)
    if found is None:
        raise KitError(
            f"env/pins/standin.yaml: model.file: {model.file!r}: not in the package {model.package};"
            " name the file as the package has it"
        )
    with found.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != model.sha256:
        raise KitError(
            f"{found.name} of {model.package} is not the pinned file: its SHA-256 is {digest},"
            f" env/pins/standin.yaml says {model.sha256}; remove .nox/{engine.name} and try again"
        )
    argv = [str(engine.python(root)), "-m", "heteropd_engine.convert", "--gguf", str(found)]
    argv += ["--dtype", DTYPE, "--out", str(folder)]
    with heartbeat(f"converting {model.served_name}", say):
        done = runner.run(argv, timeout_s=900)
    if done.code != 0:
        last = (done.err.strip() or done.out.strip() or "no output").splitlines()[-1]
        raise KitError(f"converting {found.name} failed with exit status {done.code}: {last}")
    return folder


def ensure_model_with_image(pins: StandinPins, image: str, say: Say) -> Path:
    """As `ensure_model`, with the package and the libraries that the stand-in's image carries.

    Raises BadInput when the engine does not have the image, `KitError` when the conversion fails.
    """
    folder = model_folder(pins)
    if (folder / "config.json").exists():
        return folder
    say(f"Converting {pins.model.served_name} ({pins.model.format}) to {folder} (once per user) …")
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = convert.command("python", pins.model.file, f"/models/{folder.name}", DTYPE)
    with docker_host.reported(image), closing(docker_host.connect()) as client:
        try:
            client.containers.run(
                image,
                command,
                entrypoint=NO_ENTRYPOINT,
                use_config_proxy=False,
                user=f"{os.getuid()}:{os.getgid()}",
                volumes=[f"{folder.parent}:/models"],
                network_mode="none",
                labels={"io.heteropd.task": "convert"},
                remove=True,
            )
        except ImageNotFound:
            fix = "build it: make build images=cpu"
            raise BadInput(
                "plan", "image", image, f"is not on the engine at {docker_host.address()}", fix
            ) from None
        except ContainerError as failed:
            err = failed.stderr or "no output"
            text = err.decode(errors="replace") if isinstance(err, bytes) else err
            last = text.strip().splitlines()[-1]
            raise KitError(f"converting {pins.model.file} in {image} failed: {last}") from None
    return folder


def require_libnuma() -> None:
    """Raise `MissingPrerequisite` where vLLM's native code, which does not bring libnuma, would not load."""
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        fix = "install it (Debian, Ubuntu: apt install libnuma1), or use runtime=docker"
        raise MissingPrerequisite("libnuma.so.1 is missing, which vLLM needs", fix) from None


def refuse_unsuitable(pins: StandinPins, version: str, system: str, machine: str) -> None:
    """Raise `MissingPrerequisite` where the locks hold no packages for this machine."""
    if version not in pins.python:
        raise MissingPrerequisite(
            f"the stand-in engine is locked for CPython {', '.join(pins.python)}, and this is {version}",
            f"remove .venv and name another one: make PYTHON=python{pins.python[-1]} …",
        )
    if (system, machine) != ("linux", "x86_64"):
        raise MissingPrerequisite(
            f"the stand-in engine is locked for Linux on x86-64, and this is {system} on {machine}",
            "run it on such a machine, or render a plan for real hosts with hosts=FILE",
        )
