"""One side of two programs that talk through the doctor: lines in, lines out, and an end in any case."""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_GRACE_S = 5.0


class GoneError(Exception):
    """The other side ended, or said nothing in time."""


class Peer:
    """The other program. What is printed elsewhere (UCX logs to stdout) goes to stderr from now on.

    The process ends after ``seconds`` whatever hangs, and soon after its stdin does: nothing stays on a host.
    """

    def __init__(self, seconds: int) -> None:
        signal.alarm(seconds)
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._lines: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, message: Any) -> None:
        """Send to the other side."""
        self._write(">", message)

    def hear(self, seconds: float = 10.0) -> Any:
        """What the other side says next. Raises GoneError."""
        try:
            message = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise GoneError(f"the other side said nothing for {seconds:g} s") from None
        if message is None:
            raise GoneError("the other side ended")
        return message

    def report(self, result: Any) -> None:
        """Send the result to the doctor."""
        self._write("=", result)

    def _write(self, mark: str, content: Any) -> None:
        self._out.write(f"{mark} {json.dumps(content)}\n")
        self._out.flush()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._lines.put(json.loads(line))
        self._lines.put(None)
        time.sleep(_GRACE_S)
        os._exit(3)


def run(work: Callable[[Peer, Any], Any]) -> None:
    """Run one side, as the JSON of the first argument says; what ``work`` returns is its result."""
    request = json.loads(sys.argv[1])
    peer = Peer(request["seconds"])
    try:
        peer.report(work(peer, request))
    except GoneError as gone:
        peer.report({"error": str(gone)})
