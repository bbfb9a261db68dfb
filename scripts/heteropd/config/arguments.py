"""The words after a verb, sorted into flags, options and the rest."""

from __future__ import annotations

from collections.abc import Sequence

from heteropd.errors import BadInput


class Arguments:
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
