"""The command line: verbs over the rooms, one line for every mistake, an exit status that means something.

Words are ``NAME=VALUE`` parameters and the name of a case; ``--name value`` and ``--name=value`` say the
same, so that nox arguments and make variables read alike. Start-up is lazy: each verb imports what it needs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from heteropd.errors import EXIT_INTERRUPTED, BadInput, KitError, TopologyFailed
from heteropd.processes.parent import follow_make, follow_parent


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status. Never a traceback for a user's mistake."""
    words = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _interrupt)
    follow_parent()
    follow_make()
    try:
        return _verb(words)
    except TopologyFailed as stop:
        for line in stop.log_tail:
            _complain(f"  | {line}")
        _complain(str(stop) + (f" Hint: {stop.hint}" if stop.hint else ""))
        return stop.exit_code
    except KitError as stop:
        _complain(str(stop))
        return stop.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_INTERRUPTED


def _verb(words: list[str]) -> int:
    from heteropd.cli import verbs

    name = words.pop(0) if words else "help"
    found = verbs.VERBS.get("help" if name in ("-h", "--help") else name)
    if found is None:
        known = ", ".join(verbs.VERBS)
        raise BadInput("command line", "verb", name, "is not known", f"one of {known}")
    return found(words)


def _complain(text: str) -> None:
    print(f"heteropd: {text}", file=sys.stderr)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
