"""What the table of verbs is made of: plain data, from the standard library alone, so that `make help` and
`nox -l` need not wait."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["flag", "text", "count", "list", "keyed"]


@dataclass(frozen=True)
class Option:
    """An option of a verb, said as ``name=VALUE``, ``--name VALUE`` or ``--name=VALUE``; ``-`` is ``_``.

    ``kind``: a *flag* is on or off, and ``--name`` is on; a *count* is a whole number, ``least`` or more; a
    *list* is of names, parted by spaces or commas; a *keyed* option may be given once for each key, as
    ``name.KEY=VALUE``. ``dashed``: one more name, which must have its dashes.
    """

    name: str
    help: str
    metavar: str
    kind: Kind = "text"
    default: bool | int | None = None
    least: int = 1
    dashed: str = ""

    @property
    def shown(self) -> str:
        """As make takes it: ``tail=N``."""
        return f"{self.name}{'.NAME' if self.kind == 'keyed' else ''}={self.metavar}"


def flag(name: str, text: str, *, default: bool = False) -> Option:
    """An option that is on or off."""
    return Option(name, text, "0" if default else "1", "flag", default)


@dataclass(frozen=True)
class Verb:
    """Something to do: a verb of the kit, a session of nox, a target of make.

    ``function``: ``module:function``, loaded when the verb is run, with an argument for each option; empty
    where the noxfile or the Makefile does the work. ``words``: the option that words without ``=`` stand for.
    ``plans``: takes a case and its parameters (docs/parameters.md), as ``requested``. ``more``:
    ``module:name`` of options that only a module can tell; they come as ``given``. ``fixed``: the case that
    the verb's name says. ``bare_flags``: flags may go without dashes. ``session``: nox and make have it.
    ``dev``: runs in the environment of the tests. ``passes``: the program that gets the words of nox, where
    the work is the noxfile's. ``page``: says more. ``examples``: as words for make.
    """

    name: str
    text: str
    function: str = ""
    options: tuple[Option, ...] = ()
    words: str = ""
    plans: bool = False
    more: str = ""
    fixed: str = ""
    bare_flags: bool = False
    session: bool = True
    dev: bool = False
    passes: str = ""
    page: str = ""
    examples: tuple[str, ...] = ()

    @property
    def ask_help(self) -> str:
        """The command that lists its options."""
        return f"`make {self.name} help=1`" if self.session else f"`heteropd {self.name} --help`"

    @property
    def sentence(self) -> str:
        """What it does, with its full stop."""
        return self.text if self.text.endswith("?") else f"{self.text}."
