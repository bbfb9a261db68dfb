"""A few threads that send requests side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Crew:
    """Workers that take jobs in order. Daemons on purpose: ctrl-C must not wait for an engine that hangs,
    which is what the standard executor's threads do at exit."""

    def __init__(self, workers: int) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for _ in range(workers):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(job())
            except BaseException as problem:  # whoever asks for the result gets it
                future.set_exception(problem)

        self._jobs.put(work)
        return future

    def _work(self) -> None:
        while True:
            self._jobs.get()()
