"""The verb `bench`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from heteropd.app import wiring
from heteropd.bench import command
from heteropd.config.checkout import root


def bench(*, what: str | None, given: Mapping[str, str | bool]) -> int:
    """Measure bringup, router or engines."""
    return command.run(what, given, root(), partial(wiring.prepare, root()))
