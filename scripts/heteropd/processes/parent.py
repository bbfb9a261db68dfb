"""Not outliving whoever runs us: nox and make die at once on SIGTERM and do not pass it on."""

import ctypes
import os
import select
import signal
import threading
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2
_MAKES = frozenset({"make", "gmake", "gnumake"})


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


def follow_make(signum: int = signal.SIGTERM) -> bool:
    """Have a thread send us ``signum`` when the make above us dies; True where there is one.

    nox stands in between and lives on, so that the death of a parent says nothing of it. Nothing is done
    under nohup, as in `follow_parent`.
    """
    pid = _make_above(os.getppid()) if "MAKELEVEL" in os.environ else None
    if pid is None or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return False
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False

    def wait() -> None:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll()
        signal.pthread_kill(threading.main_thread().ident or 0, signum)  # it may be in the middle of a sleep

    threading.Thread(target=wait, name="follow-make", daemon=True).start()
    return True


def _make_above(pid: int) -> int | None:
    """The nearest make among ``pid`` and its ancestors."""
    while pid > 1:
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        except OSError:
            return None
        if name.partition("(")[2] in _MAKES:
            return pid
        pid = int(rest.split()[1])
    return None
