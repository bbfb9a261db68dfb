"""Requests side by side, on threads."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def side_by_side(jobs: Sequence[Callable[[], T]], at_once: int) -> list[Future[T]]:
    """Start the jobs in order, ``at_once`` of them at a time; returns without waiting for any.

    The threads are daemons on purpose: ctrl-C must not wait for an engine that hangs, which is what the
    standard executor's threads do at exit.
    """
    todo: SimpleQueue[tuple[Callable[[], T], Future[T]]] = SimpleQueue()
    futures: list[Future[T]] = [Future() for _ in jobs]
    for pair in zip(jobs, futures, strict=True):
        todo.put(pair)
    for _ in range(min(at_once, len(futures))):
        threading.Thread(target=_work, args=(todo,), daemon=True).start()
    return futures


def _work(todo: SimpleQueue[tuple[Callable[[], T], Future[T]]]) -> None:
    while True:
        try:
            job, future = todo.get_nowait()
        except Empty:
            return
        try:
            future.set_result(job())
        except BaseException as problem:  # whoever asks for the result gets it
            future.set_exception(problem)
