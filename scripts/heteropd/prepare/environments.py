"""Python environments made from hashed locks, by uv, once: a stamp says what an environment was made from."""

import hashlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from heteropd.console.heartbeat import heartbeat
from heteropd.errors import KitError, MissingPrerequisite
from heteropd.prepare import pip_settings
from heteropd.system import CommandRunner

Say = Callable[[str], None]
ENGINE_PROJECT = "scripts/heteropd_engine"
_FOLDERS = "UV_FIND_LINKS"


@dataclass(frozen=True)
class Environment:
    """A virtual environment under ``.nox/``, the locks that fill it and the projects of this checkout in it.

    ``special_lock`` holds packages that PyPI has not (PyTorch's CPU build): they are looked for in the wheel
    folders that pip's configuration names, then on ``special_index`` alone. ``published``: what the locks
    name is looked for in these folders last, for uv takes another build there (2.13.0+cpu) for a version.
    """

    name: str
    locks: tuple[str, ...]
    special_lock: str | None = None
    special_index: str = ""
    projects: tuple[str, ...] = (".", ENGINE_PROJECT)
    published: bool = False

    def path(self, root: Path) -> Path:
        return root / ".nox" / self.name

    def bin(self, root: Path) -> Path:
        return self.path(root) / "bin"

    def python(self, root: Path) -> Path:
        return self.bin(root) / "python"


KIT = Environment("kit", ("env/locks/kit.txt",))
DEV = Environment("dev", ("env/locks/dev.txt",))


def fingerprint(environment: Environment, root: Path) -> str:
    """SHA-256 over everything that decides the environment's content."""
    digest = hashlib.sha256(sys.version.encode())
    digest.update(str(root).encode())  # the project is installed editable: a moved checkout needs a new one
    locks = [*environment.locks, *([environment.special_lock] if environment.special_lock else [])]
    for name in locks:
        digest.update((root / name).read_bytes())
    for folder in environment.projects:
        file = tomllib.loads((root / folder / "pyproject.toml").read_text())
        # What is installed follows from these; settings of linters and tests do not matter.
        told = [file.get("build-system"), file.get("project"), file.get("tool", {}).get("setuptools")]
        digest.update(json.dumps(told, sort_keys=True).encode())
    return digest.hexdigest()


def is_current(environment: Environment, root: Path) -> bool:
    """True when the environment exists and was made from what is in the checkout now."""
    try:
        return _stamp(environment, root).read_text() == fingerprint(environment, root)
    except FileNotFoundError:
        return False


def ensure(environment: Environment, root: Path, runner: CommandRunner, say: Say) -> bool:
    """Make the environment unless it is current; True when it was made.

    Raises `KitError` with the command that failed; the next call starts over.
    """
    if is_current(environment, root):
        return False
    uv = find_uv()
    say(f"Setting up .nox/{environment.name} from {', '.join(environment.locks)} (once per lock) …")
    options = pip_settings.read(runner)
    # As pip, take a package from any configured index; the hashes in the lock make that safe.
    strategy = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    env = {**strategy, **os.environ, **pip_settings.variables(options, os.environ)}
    # uv leaves the lock of a project that it builds in the temporary folder.
    with (
        heartbeat(f"setting up .nox/{environment.name}", say),
        TemporaryDirectory(prefix="heteropd-") as ours,
    ):
        _fill(environment, root, runner, uv, {**env, "TMPDIR": ours})
    _stamp(environment, root).write_text(fingerprint(environment, root))
    return True


def _fill(environment: Environment, root: Path, runner: CommandRunner, uv: str, env: dict[str, str]) -> None:
    target = environment.path(root)
    shutil.rmtree(target, ignore_errors=True)
    _must(runner, [uv, "venv", "--quiet", "--no-config", "--python", sys.executable, str(target)], env)
    python = str(environment.python(root))
    # Bytecode now: an engine is three processes, and where nothing may write bytecode later
    # (PYTHONDONTWRITEBYTECODE, a read-only image) each of them would compile vLLM and torch anew.
    install = [uv, "pip", "install", "--quiet", "--no-config", "--no-deps", "--compile-bytecode"]
    install += ["--python", python]
    indexes = {name: value for name, value in env.items() if name != _FOLDERS}
    for lock in environment.locks:
        command = [*install, "--require-hashes", "-r", str(root / lock)]
        if not environment.published or _FOLDERS not in env or runner.show(command, env=indexes) != 0:
            _must(runner, command, env)
    if environment.special_lock:
        _special(environment, root, runner, install, env)
    # Editable, against the setuptools of the lock: nothing is resolved or downloaded here.
    projects = [f"--editable={root / folder}" for folder in environment.projects]
    if projects:
        _must(runner, [*install, "--no-build-isolation", *projects], env)


def find_uv() -> str:
    """The uv beside this Python, or the one on PATH. Raises `MissingPrerequisite`."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise MissingPrerequisite("uv is not installed beside nox", "use `make`, or `pip install uv`")
    return found


def _special(
    environment: Environment, root: Path, runner: CommandRunner, install: list[str], env: dict[str, str]
) -> None:
    lock = ["--require-hashes", "-r", str(root / str(environment.special_lock))]
    if _FOLDERS in env and runner.run([*install, "--no-index", *lock], env=env, timeout_s=600).code == 0:
        return
    # An extra index would be asked for torch as well.
    alone = {name: value for name, value in env.items() if name not in ("UV_INDEX", "UV_DEFAULT_INDEX")}
    _must(runner, [*install, "--default-index", environment.special_index, *lock], alone)


def _must(runner: CommandRunner, argv: list[str], env: dict[str, str]) -> None:
    code = runner.show(argv, env=env)
    if code != 0:
        raise KitError(f"`{' '.join(argv)}` failed with exit status {code}; its own words are above")


def _stamp(environment: Environment, root: Path) -> Path:
    return environment.path(root) / ".heteropd-stamp"
