"""A sign of life from work that reports nothing itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 15.0


@contextmanager
def heartbeat(what: str, say: Callable[[str], None], every_s: float = EVERY_S) -> Iterator[None]:
    """While the block runs, say every ``every_s`` seconds that ``what`` still goes on, and for how long."""
    began, ended = time.monotonic(), threading.Event()

    def beat() -> None:
        while not ended.wait(every_s):
            say(f"still {what} after {time.monotonic() - began:.0f} s")

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
