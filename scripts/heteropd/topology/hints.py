"""From the last lines of a dead role's log to what a user can do about it."""

import re
import signal
from collections.abc import Sequence

from heteropd.config import hints

# The exception that ended a Python program, or a native program's last cry.
_ERROR = re.compile(r"\b((?:[\w.]*(?:Error|Exception)|zmq\.error\.Again|thread '[^']*' panicked)\b:? ?.*)")
# What vLLM's inner processes say before their traceback, which process that is, and a traceback's last line.
_FAILED = re.compile(
    r"(?:WorkerProc|EngineCore) (?:failed to start|hit an exception|encountered a fatal error)"
)
_PROCESS = re.compile(r"^\([^()]*pid=\d+\)")
_RAISED = re.compile(r"(?:^|[\])] )(?:[\w.]+(?:Error|Exception)|(?:\w+\.)+[A-Z]\w*)(?::.*)?$")
# An error about the error of another process, which stands above it in the log; and what an end brings.
_WRAPPER = re.compile(
    r"root cause|see stack trace|Engine core (initialization|proc\S*) (failed|died)|EngineDeadError"
    r"|Engine process failed|WorkerProc initialization failed|Exception ignored|KeyboardInterrupt",
    re.IGNORECASE,
)


def hint(lines: Sequence[str], status: int | None = None) -> str | None:
    """What a user can do: from the line that names the cause, else from the newest line that an entry of
    env/hints.yaml fits; None when none does."""
    named = _cause_line(lines)
    ordered = [*([named] if named else []), *reversed(lines)]
    known = hints.load()
    for kind in (known.roles, known.last):
        for line in ordered:
            if found := hints.first(kind, line):
                return found.fix
    if status == -signal.SIGKILL:
        return "somebody killed it, most often the kernel for want of memory: see `dmesg`"
    return None


def cause(lines: Sequence[str]) -> str | None:
    """The error that ended a role, from its name on; None when no line names one.

    That is the newest, but for those that only say that another process failed: of vLLM's processes the
    outer ones end with "see root cause above".
    """
    line = _cause_line(lines)
    found = _ERROR.search(line) if line else None
    return found[1].strip()[:200] if found else None


def _cause_line(lines: Sequence[str]) -> str | None:
    failed = next((index for index, line in enumerate(lines) if _FAILED.search(line)), None)
    if failed is not None:
        # Of several workers the first one that failed; those that waited for it fail after it.
        who = _PROCESS.match(lines[failed])
        own = [line for line in lines[failed + 1 :] if not who or line.startswith(who[0])]
        raised = [line for line in own if _RAISED.search(line) and not _WRAPPER.search(line)]
        if raised:
            return raised[-1]
    errors = [line for line in lines if _ERROR.search(line) and "ld.so" not in line]
    wrapped = next((index for index, line in enumerate(errors) if _WRAPPER.search(line)), len(errors))
    real = errors[:wrapped] or [line for line in errors if not _WRAPPER.search(line)] or errors
    return real[-1] if real else None


def ended_with(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "exit status unknown"
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit status {status}"
