"""Where people read: a terminal, or a pipe and a CI's log, which have no width of their own."""

import os

from rich.console import Console

_WIDE = 180


def console(*, stderr: bool = False) -> Console:
    """As wide as the terminal, or COLUMNS; else wide, for rich would take 80 and fold every table."""
    found = Console(stderr=stderr)
    if found.is_terminal or os.environ.get("COLUMNS"):
        return found
    return Console(stderr=stderr, width=_WIDE)
