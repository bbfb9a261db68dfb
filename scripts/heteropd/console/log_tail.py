"""The end of a log, and its last line that says something."""

from __future__ import annotations

import re
from pathlib import Path

_TAIL_BYTES = 64 * 1024
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Access logs of the very polling that reads the line, progress bars, and lines without a word.
_NOISE = re.compile(r'"(GET|POST) /|\d+%\||^\W*$')
_PREFIX = re.compile(
    r"^(\(\w[\w ]*pid=\d+\) )?((DEBUG|INFO|WARNING|ERROR) \d\d-\d\d \d\d:\d\d:\d\d (\[[^\]]*\] )?)?"
)


def without_colours(line: str) -> str:
    """A line without the escape codes of a terminal."""
    return _ANSI.sub("", line)


def last_lines(path: Path, lines: int) -> list[str]:
    """The last ``lines`` lines of a log without terminal colours; empty when there is no log."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    return [without_colours(line) for line in text.splitlines()][-lines:] if lines > 0 else []


def last_word(path: Path) -> str:
    """The last line of a log that says how far its role is, without time and place; may be empty."""
    for line in reversed(last_lines(path, 50)):
        said = _PREFIX.sub("", line).strip()
        if said and not _NOISE.search(said):
            return said
    return ""
