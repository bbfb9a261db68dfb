"""The command line: one verb, one line for every mistake, an exit status that means something."""

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from heteropd.cli import parser, table
from heteropd.cli.options import Verb
from heteropd.cli.overview import overview
from heteropd.errors import EXIT_INTERRUPTED, EXIT_OK, BadInput, KitError, TopologyFailed, did_you_mean
from heteropd.processes.parent import follow_make, follow_parent


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status. Never a traceback for a user's mistake."""
    words = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _interrupt)
    follow_parent()
    follow_make()
    try:
        return _run(words)
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


def _run(words: list[str]) -> int:
    name = words.pop(0) if words else "help"
    if name in ("help", *parser.HELP):
        sys.stdout.write(parser.help_text(_verb(words[0])) if words else overview(make=False))
        return EXIT_OK
    verb = _verb("version" if name == "--version" else name)
    if any(word in parser.HELP for word in words):
        sys.stdout.write(parser.help_text(verb))
        return EXIT_OK
    arguments = parser.parse(verb, words)
    status: int = parser.load(verb.function)(**arguments)
    return status


def _verb(name: str) -> Verb:
    if name not in table.OF_THE_KIT:
        fix = did_you_mean(name, table.OF_THE_KIT)
        raise BadInput(parser.WHERE, "verb", name, "is not known", fix)
    return table.OF_THE_KIT[name]


def _complain(text: str) -> None:
    print(f"heteropd: {text}", file=sys.stderr)


def _interrupt(signum: int, frame: object) -> NoReturn:
    del signum, frame
    raise KeyboardInterrupt
