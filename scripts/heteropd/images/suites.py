"""Runs the testinfra suites of tests/infra, on whatever their options name."""

import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from heteropd.errors import EXIT_FAILED, EXIT_OK, KitError, MissingPrerequisite
from heteropd.system import CommandRunner, own_python

FOLDER = "tests/infra"
_PYTEST = (sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider")
# 1 is tests that failed; everything above is pytest itself that could not go on.
_TESTS_FAILED = 1


def require_testinfra() -> None:
    """Raise MissingPrerequisite in an environment without it."""
    if importlib.util.find_spec("testinfra") is None:
        raise MissingPrerequisite("testinfra is not in this environment", "run `make infra`, which has it")


def argv(options: Sequence[str], folders: Iterable[str], *, strict: bool, junit: str | None) -> list[str]:
    """The command. ``strict``: a fact that cannot be had is a failure; ``junit``: where results go."""
    more = [*(["--strict-facts"] if strict else []), *([f"--junit-xml={junit}"] if junit else [])]
    return [*_PYTEST, *options, *more, *(f"{FOLDER}/{name}" for name in folders)]


def run(command: Sequence[str], what: str, environ: Mapping[str, str], runner: CommandRunner) -> int:
    """0 or 1. ``environ`` has DOCKER_HOST, for testinfra asks through the docker program. Raises KitError."""
    own = own_python({**os.environ, **environ})  # the suites' plugins are in tests/infra_facts
    status = runner.show(command, env={**own, "PYTHONPATH": f"{own['PYTHONPATH']}{os.pathsep}tests"})
    if status > _TESTS_FAILED:
        raise KitError(f"{what}: pytest ended with status {status}; see its output above")
    return EXIT_FAILED if status else EXIT_OK
