"""Not outliving whoever runs us: nox and make die at once on SIGTERM and do not pass it on."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2


def follow_parent(signum: int = signal.SIGTERM) -> int:
    """Have the kernel send us ``signum`` when our parent dies (0: nothing); returns what was set before.

    Children do not inherit it. A caller that wants to survive its parent ignores SIGHUP, as under nohup:
    then nothing is set. A command that may take a while calls this first of all: a parent that is dead
    already cannot be told from none.
    """
    before = ctypes.c_int(0)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(before), 0, 0, 0)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return before.value
    parent = os.getppid()
    if libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if signum and os.getppid() != parent:  # it died just before the kernel could take note
        signal.raise_signal(signum)
    return before.value
