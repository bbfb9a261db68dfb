"""The command line: verbs over the rooms, one line for every mistake, an exit status that means something.

Words are ``NAME=VALUE`` parameters and the name of a case; ``--name value`` and ``--name=value`` say the
same, so that nox arguments and make variables read alike. Start-up is lazy: each verb imports what it needs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from heteropd.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, BadInput, KitError, TopologyFailed
from heteropd.runtime.orphan import follow_parent

Verb = Callable[["Words"], int]


class Words:
    """The words after a verb: flags it knows, the rest as the user wrote them, for the planner to judge.

    ``--follow`` is a flag; ``--tail 5``, ``--tail=5`` and ``tail=5`` are the same option.
    """

    def __init__(self, words: Sequence[str], flags: Sequence[str] = (), options: Sequence[str] = ()) -> None:
        self.flags: set[str] = set()
        self.options: dict[str, str] = {}
        self.rest: list[str] = []
        queue = list(words)
        while queue:
            self._take(queue.pop(0), queue, flags, options)

    def _take(self, word: str, queue: list[str], flags: Sequence[str], options: Sequence[str]) -> None:
        dashed = word.startswith("--")
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if name in flags and (dashed or equals):
            if not equals or value.lower() in ("1", "yes", "true", "on"):
                self.flags.add(name)
        elif dashed and not equals:
            if not queue or queue[0].startswith("--"):
                raise BadInput("command line", word, "", "needs a value", f"--{name} VALUE or {name}=VALUE")
            self._keep(name, queue.pop(0), options)
        elif equals:
            self._keep(name, value, options)
        else:
            self.rest.append(word)

    def _keep(self, name: str, value: str, options: Sequence[str]) -> None:
        if name in options:
            self.options[name] = value
        else:
            self.rest.append(f"{name}={value}")

    def none_left(self, verb: str) -> None:
        """Refuse words that the verb does not take."""
        if self.rest:
            left = " ".join(self.rest)
            raise BadInput("command line", verb, left, "is not understood here", "leave it out")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status. Never a traceback for a user's mistake."""
    words = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _interrupt)
    follow_parent()
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
    from heteropd import verbs

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


def root() -> Path:
    """The checkout: the folder that holds env/ and pyproject.toml."""
    here = Path(__file__).resolve().parents[2]
    if not (here / "env").is_dir():
        raise BadInput(str(here), "env", "missing", "the kit runs from its checkout", "git clone it anew")
    return here


__all__ = ["EXIT_BAD_INPUT", "Words", "main", "root"]
