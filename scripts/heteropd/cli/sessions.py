"""Sessions and targets whose work is the noxfile's or make's: their help, and what they do not take."""

import re
from collections.abc import Sequence

from heteropd.cli.options import Verb
from heteropd.cli.parser import HELP, WHERE, help_text
from heteropd.errors import BadInput, nearest

_NAMED = re.compile(r"([A-Za-z][\w-]*)=")


def session_help(verb: Verb, words: Sequence[str]) -> str | None:
    """The help of a session that is asked for it, instead of its work.

    Raises BadInput for NAME=VALUE, of which it takes none, and for any word that no program gets.
    """
    if not set(HELP).isdisjoint(words):
        return help_text(verb)
    for before, word in zip(["", *words], words, strict=False):
        named = None if before.startswith("-") else _NAMED.match(word)
        if named or not verb.passes:
            program = (
                f", or {verb.passes}'s arguments: .venv/bin/nox -s {verb.name} -- …" if verb.passes else ""
            )
            fix = f"{verb.name} takes help=1{program}"
            if named and nearest(named[1], ["help"]):
                fix = "did you mean 'help'?"
            raise BadInput(WHERE, None, None, f"{word!r}: unknown parameter", fix)
    return None
