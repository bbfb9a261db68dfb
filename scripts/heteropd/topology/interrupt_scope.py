"""While this is held, an interrupt leaves nothing running: not on ctrl-C, SIGTERM, SIGHUP or worse."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from heteropd.errors import Interrupted
from heteropd.processes import watchdog
from heteropd.processes.parent import follow_parent
from heteropd.processes.record import forget, mark_ending
from heteropd.processes.sweep import Leftovers, runs_on, sweep
from heteropd.topology.context import Context

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(KeyboardInterrupt):
    """Raised by a signal handler to unwind to `InterruptScope`, past everything that catches Exception."""


class InterruptScope:
    """Ends the topology that was started under it when a signal arrives or whoever runs us dies; raises
    Interrupted then.

    A topology that was running before is left alone, and so is one that this scope saw come up when the scope
    ends without a signal. Signals that the caller's caller has set to be ignored (nohup) stay ignored. A
    command that goes on working with a topology holds it around all of that: ::

        with InterruptScope(context) as scope:
            topology = up(plan, context, scope=scope)
            …
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._topology_id: str | None = None
        self._leftovers = Leftovers()
        self._signum: int | None = None
        self._missed: tuple[str, ...] = ()
        self._closing = False
        self._followed = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "InterruptScope":
        if threading.current_thread() is threading.main_thread():
            for signum in _SIGNALS:
                if signal.getsignal(signum) is not signal.SIG_IGN:
                    self._previous[signum] = signal.signal(signum, self._on_signal)
            self._followed = follow_parent()
        return self

    def adopt(self, topology_id: str, leftovers: Leftovers) -> None:
        """From now on this topology is ended on a signal."""
        self._topology_id, self._leftovers = topology_id, leftovers

    def arm(self, topology_id: str, leftovers: Leftovers) -> None:
        """Adopt, and have a guard that does the same should we be killed."""
        self.adopt(topology_id, leftovers)
        watchdog.start(self._context.state_dir, topology_id, self._context.runner, self._context.environ)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._signum is None:
            self._signum = signal.SIGINT
        self._finish()
        if self._previous:
            follow_parent(self._followed)
        for signum, previous in self._previous.items():
            signal.signal(signum, previous)
        if self._signum is not None:
            outcome = "; everything that was started has been ended" if self._topology_id else ""
            if self._missed:
                outcome = f"; {runs_on(self._missed)}"
            raise Interrupted(f"interrupted by {signal.Signals(self._signum).name}{outcome}") from None

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        if self._signum is not None:
            return  # we are ending everything already; a second ctrl-C must not stop that half-way
        self._signum = signum
        # Here and not after unwinding: whoever runs us may give us half a second.
        self._end()
        if not self._closing:
            raise Stop

    def _finish(self) -> None:
        if self._topology_id is None:
            return
        if self._signum is not None:
            self._end()
            self._forget()
        watchdog.stop(self._context.state_dir, self._topology_id)
        if self._signum is not None:  # it may have come just now, and its handler has ended everything
            self._forget()

    def _end(self) -> None:
        if self._topology_id is not None:
            state_dir = self._context.state_dir
            mark_ending(state_dir, self._topology_id)
            self._missed = sweep(state_dir, self._topology_id, self._context.clock, self._leftovers)

    def _forget(self) -> None:
        if not self._missed:
            forget(self._context.state_dir, self._topology_id)
