"""The end of a log, and its last line that says something."""

import re
from collections.abc import Callable
from pathlib import Path

_TAIL_BYTES, _MOST_BYTES = 64 * 1024, 16 * 2**20
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Access logs of the very polling that reads the line, progress bars, the loader's complaint about a preload
# whose path has a space, and lines without a word.
_NOISE = re.compile(r'"(GET|POST) /|\d+%\||^ERROR: ld\.so: |^\W*$')
_PREFIX = re.compile(
    r"^(\(\w[\w ]*pid=\d+\) )?((DEBUG|INFO|WARNING|ERROR) \d\d-\d\d \d\d:\d\d:\d\d (\[[^\]]*\] )?)?"
)


def without_colours(line: str) -> str:
    """A line without the escape codes of a terminal."""
    return _ANSI.sub("", line)


def last_lines(path: Path, lines: int, keep: Callable[[str], bool] | None = None) -> list[str]:
    """The last ``lines`` lines of a log (of those that ``keep`` takes) without terminal colours; empty when
    there is no log. No more than its last 16 MiB are looked at."""
    if lines <= 0:
        return []
    block = _TAIL_BYTES
    while True:
        try:
            with path.open("rb") as stream:
                size = stream.seek(0, 2)
                stream.seek(max(0, size - block))
                text = stream.read().decode(errors="replace")
        except OSError:
            return []
        found = [line for line in map(without_colours, text.splitlines()) if keep is None or keep(line)]
        if keep is None or len(found) > lines or block >= min(size, _MOST_BYTES):
            return found[-lines:]
        block *= 8


def last_word(path: Path) -> str:
    """The last line of a log that says how far its role is, without time and place; may be empty."""
    for line in reversed(last_lines(path, 50)):
        word = _PREFIX.sub("", line).strip()
        if word and not _NOISE.search(word):
            return word
    return ""
