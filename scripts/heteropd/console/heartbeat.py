"""A sign of life from work that reports nothing itself."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from heteropd.system import Clock, SystemClock

EVERY_S = 15.0


@contextmanager
def heartbeat(
    what: str, say: Callable[[str], None], every_s: float = EVERY_S, clock: Clock | None = None
) -> Iterator[None]:
    """While the block runs, say every ``every_s`` seconds that ``what`` still goes on, and for how long."""
    clock = clock or SystemClock()
    began, ended = clock.now(), threading.Event()

    def beat() -> None:
        while not ended.wait(every_s):
            say(f"still {what} after {clock.now() - began:.0f} s")

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
