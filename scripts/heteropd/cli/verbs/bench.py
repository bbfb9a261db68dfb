"""The verb `bench`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from heteropd.app import wiring
from heteropd.bench import command
from heteropd.config.checkout import root


def bench(*, what: str | None, given: Mapping[str, str | bool]) -> int:
    """Measure one part, or the running topology under load."""
    return command.run(what, given, wiring.context(root(), aside=True), partial(wiring.prepare, root()))
