"""The verbs `bench` and `soak`."""

from collections.abc import Mapping
from functools import partial

from heteropd.app import wiring
from heteropd.bench import command
from heteropd.bench import soak as soaking
from heteropd.config.checkout import root


def bench(*, what: str | None, given: Mapping[str, str | bool]) -> int:
    """Measure one part, or the running topology under load."""
    return command.run(what, given, wiring.context(root(), aside=True), partial(wiring.prepare, root()))


def soak(*, given: Mapping[str, str | bool]) -> int:
    """Steady traffic through the running topology, and a verdict; 0 or 1."""
    return soaking.run(given, wiring.context(root(), aside=True))
