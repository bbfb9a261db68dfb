"""The kit's verbs as sessions, made from the table of verbs (scripts/heteropd/cli/table). `nox -l` lists
them; `nox -s VERB -- [NAME=VALUE ...]` runs one; `make VERB` is the same.

Exit status: 0 good, 1 a verdict that failed or a topology that did not come up, 2 bad input or something
missing, 130 interrupted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "scripts"))

from heteropd.cli.sessions import session_help  # noqa: E402
from heteropd.cli.table import SESSIONS  # noqa: E402
from heteropd.errors import KitError  # noqa: E402
from heteropd.prepare import environments  # noqa: E402
from heteropd.system import LocalRunner, without_python_settings  # noqa: E402

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "unit"]
nox.options.stop_on_first_error = True

_SIDE_BY_SIDE = ("--numprocesses=auto", "--dist=worksteal")

Session = Callable[[nox.Session], None]
own: dict[str, Session] = {}  # sessions that are no verbs of the kit, by name


def session(function: Session) -> Session:
    """A session whose work is here."""
    name = function.__name__ if function.__name__ in SESSIONS else function.__name__.replace("_", "-")

    def run(session: nox.Session) -> None:
        with _one_line():
            text = session_help(SESSIONS[name], session.posargs)
        if text is None:
            function(session)
        else:
            print(text, end="")

    own[name] = run
    return function


def verb(name: str) -> Session:
    """A session that is a verb of the kit."""

    def run(session: nox.Session) -> None:
        environment = environments.DEV if SESSIONS[name].dev else environments.KIT
        _run(environment, "python", "-P", "-m", "heteropd", name, *session.posargs)

    return run


@session
def test(session: nox.Session) -> None:
    for name in ("lint", "types", "coverage", "e2e"):
        session.notify(name)


@session
def lint(session: nox.Session) -> None:
    _dev("ruff", "check", *session.posargs, ".")
    _dev("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]), ".")
    _run(environments.DEV, "lint-imports", "--no-cache", "--no-logo")


@session
def types(session: nox.Session) -> None:
    _dev("mypy", *session.posargs)


@session
def unit(session: nox.Session) -> None:
    _dev("pytest", *_SIDE_BY_SIDE, *(session.posargs or ["tests/unit"]))


@session
def coverage(session: nox.Session) -> None:  # noqa: ARG001
    # Apart from `unit`: to be watched makes pure Python tests take half as long again.
    _dev("pytest", *_SIDE_BY_SIDE, "--cov", "--cov-report=", "tests/unit")
    _run(environments.DEV, "python", "-P", "tests/coverage_floors.py")


@session
def e2e(session: nox.Session) -> None:
    _run(environments.KIT, "python", "-P", "-m", "heteropd", "prepare")
    _dev("pytest", "-x", *(session.posargs or ["tests/e2e"]))


@session
def test_images(session: nox.Session) -> None:
    _dev("pytest", "-x", "--durations=12", *(session.posargs or ["tests/images", "-m", "not slow"]))


@session
def fabric_lab(session: nox.Session) -> None:
    _dev("pytest", "-x", "--durations=12", *(session.posargs or ["tests/fabric"]))


@session
def node_lab(session: nox.Session) -> None:
    _dev("pytest", "-x", "--durations=12", *(session.posargs or ["tests/nodes"]))


@session
def relock(session: nox.Session) -> None:
    for name in ("nox", "kit", "dev", "engine-cpu", "guidellm", "sbom"):
        overrides = ROOT / f"env/locks/{name}.overrides"
        extra = ["--override", str(overrides)] if overrides.exists() else []
        extra += ["-c", "env/locks/kit.txt"] if name == "dev" else []
        options = "--quiet --universal --python-version 3.11 --generate-hashes --no-header"
        quiet = "--no-emit-index-url --no-emit-find-links"
        files = [f"env/locks/{name}.in", "-o", f"env/locks/{name}.txt"]
        argv = [environments.find_uv(), "pip", "compile", *options.split(), *quiet.split(), *extra, *files]
        session.run(*argv, *session.posargs, external=True)


def _dev(*argv: str) -> None:
    _run(environments.DEV, "python", "-P", "-m", *argv)


def _run(environment: environments.Environment, *argv: str) -> None:
    """Run in an environment and pass the exit status on: nox alone would make every failure a 1."""
    with _one_line():
        environments.ensure(environment, ROOT, LocalRunner(), say=lambda text: print(text, file=sys.stderr))
    command = [environment.bin(ROOT) / argv[0], *argv[1:]]
    with subprocess.Popen(command, cwd=ROOT, env=without_python_settings(os.environ)) as child:
        code = _wait(child)
    if code:
        raise SystemExit(code)


@contextmanager
def _one_line() -> Iterator[None]:
    """Say in a line why the kit stops."""
    try:
        yield
    except KitError as stop:
        print(f"heteropd: {stop}", file=sys.stderr)
        raise SystemExit(stop.exit_code) from None


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait to the end through ctrl-C: the child got it from the terminal too, and cleans up."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


# Every session runs in one of two environments that the kit makes itself (.nox/kit, .nox/dev): a verb that is
# typed every few minutes must not wait for one of its own.
for name, entry in SESSIONS.items():
    function = verb(name) if entry.function else own[name]
    function.__doc__ = entry.sentence
    nox.session(function, name=name, venv_backend="none", default=name in nox.options.sessions)
