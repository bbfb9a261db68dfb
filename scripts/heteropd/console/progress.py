"""Showing a bring-up: live lines on a terminal; elsewhere a line when something changes, and a heartbeat."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_STYLES = {"waiting": "dim", "starting": "yellow", "healthy": "green", "ready": "bold green"}


@dataclass(frozen=True)
class Row:
    """One role in the display. ``seconds`` since its start, ``word`` its last word if it is the slowest."""

    name: str
    where: str
    state: str
    seconds: float
    word: str = ""


class Progress:
    """Shows rows as they change. Use as a context manager; ``update`` may be called often."""

    def __init__(self, console: Console, heartbeat_s: float) -> None:
        self._console, self._heartbeat_s = console, heartbeat_s
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown: dict[str, str] = {}
        self._last_line_s: float | None = None

    def __enter__(self) -> "Progress":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, rows: Sequence[Row], now_s: float) -> None:
        """Show the rows; ``now_s`` is the clock's."""
        if self._live is not None:
            self._live.update(_table(rows), refresh=True)
            return
        changed = [row for row in rows if row.state != "ready" and self._shown.get(row.name) != row.state]
        for row in changed:
            self._print(row, f"healthy after {row.seconds:.1f} s" if row.state == "healthy" else row.state)
            self._shown[row.name] = row.state
        if changed or self._last_line_s is None:
            self._last_line_s = now_s
        elif now_s - self._last_line_s >= self._heartbeat_s:
            unready = [row for row in rows if row.state == "starting"] or list(rows)
            slowest = next((row for row in rows if row.word), unready[0])
            self._print(
                slowest,
                f"still {slowest.state} after {slowest.seconds:.0f} s: {slowest.word or 'no word yet'}",
            )
            self._last_line_s = now_s

    def _print(self, row: Row, text: str) -> None:
        self._console.print(Text(f"{row.name} ({row.where}): {text}"), soft_wrap=True)


def _table(rows: Sequence[Row]) -> Table:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        style = _STYLES.get(row.state, "")
        word = Text(row.word, style="dim", no_wrap=True, overflow="ellipsis")
        table.add_row(row.name, row.where, Text(row.state, style=style), f"{row.seconds:6.1f} s", word)
    return table
