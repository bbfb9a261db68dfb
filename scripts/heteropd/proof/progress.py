"""What a user sees while validation runs: phase, done of total, elapsed."""

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from heteropd.proof.verdict import Phase
from heteropd.system import Clock


class Phases:
    """Live bars on a terminal, one line per finished phase elsewhere; keeps the times for the verdict.

    A phase ends with its last step, whichever thread takes it.
    """

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console, self._clock = console, clock
        self._start = clock.now()
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._left: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, name: str, total: int) -> None:
        """Announce a phase of ``total`` steps."""
        self._began[name] = self._clock.now()
        self._left[name] = total
        self._tasks[name] = self._bars.add_task(name, total=total)

    def step(self, name: str) -> None:
        """One step is done, well or badly."""
        self._bars.advance(self._tasks[name])
        with self._lock:
            self._left[name] -= 1
            if self._left[name]:
                return
            self._ended[name] = self._clock.now()
        if not self._console.is_terminal:
            took = self._ended[name] - self._began[name]
            self._console.print(f"validate: {name} done in {took:.1f} s", highlight=False)

    def seconds(self, name: str) -> float:
        """How long a phase took, or has taken until now."""
        return self._ended.get(name, self._clock.now()) - self._began[name]

    def done(self) -> list[Phase]:
        """All phases with their times, in the order in which they began."""
        return [
            Phase(
                name=name,
                started_s=round(began - self._start, 2),
                seconds=round(self.seconds(name), 2),
            )
            for name, began in self._began.items()
        ]
