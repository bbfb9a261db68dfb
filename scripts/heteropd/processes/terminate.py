"""Ending processes by identity: politely for a bounded time, then not."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

from heteropd.processes.identity import Identity, alive, send
from heteropd.system import Clock

Find = Callable[[], set[Identity]]

_LOOK_S = 0.05
_KILL_LIMIT_S = 10.0


@dataclass(frozen=True)
class Ending:
    """What it took: processes that were there, that needed SIGKILL, and that outlived even that."""

    found: frozenset[Identity] = frozenset()
    killed: frozenset[Identity] = frozenset()
    survivors: frozenset[Identity] = frozenset()

    def __or__(self, more: "Ending") -> "Ending":
        return Ending(self.found | more.found, self.killed | more.killed, self.survivors | more.survivors)


def end(find: Find, clock: Clock, grace_s: float) -> Ending:
    """SIGTERM to all that ``find`` finds; SIGKILL to what is left after ``grace_s`` seconds."""
    seen = find()
    for process in seen:
        send(process, signal.SIGTERM)
    deadline = clock.now() + grace_s
    while clock.now() < deadline:
        seen |= find()
        if not _living(seen):
            break
        clock.sleep(_LOOK_S)
    return _kill(find, clock, seen)


def kill(find: Find, clock: Clock) -> Ending:
    """SIGKILL at once to all that ``find`` finds, until it finds nothing."""
    return _kill(find, clock, set())


def _kill(find: Find, clock: Clock, seen: set[Identity]) -> Ending:
    killed: set[Identity] = set()
    deadline = clock.now() + _KILL_LIMIT_S
    while True:
        seen |= find()
        living = _living(seen)
        # A process forked during the look may have been missed: only a second, empty look is trusted.
        if not living and not find():
            break
        killed |= {process for process in living if send(process, signal.SIGKILL)}
        if clock.now() >= deadline:
            break
        clock.sleep(0.01)
    return Ending(frozenset(seen), frozenset(killed), frozenset(_living(seen)))


def _living(processes: set[Identity]) -> set[Identity]:
    return {process for process in processes if alive(process)}
