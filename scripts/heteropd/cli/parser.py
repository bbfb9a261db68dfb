"""From the words after a verb to the arguments of its function: argparse over the table of verbs.

``name=value``, ``--name value`` and ``--name=value`` say the same, and ``-`` is ``_`` in names, so that make
variables and nox arguments read alike.
"""

import argparse
import importlib
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from heteropd.cli.options import Option, Verb
from heteropd.config.arguments import PlanArguments
from heteropd.errors import BadInput, did_you_mean

WHERE = "command line"
PLAN_OPTIONS = "heteropd.cli.more_options:PLAN"
_ON, _OFF = ("1", "yes", "true", "on"), ("0", "no", "false", "off")
HELP = ("--help", "-h", *(f"help={on}" for on in _ON))


def load(place: str) -> Any:
    """What ``module:name`` names. The one place where the command line imports late: a verb loads only what
    it needs."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def parse(verb: Verb, words: Sequence[str]) -> dict[str, Any]:
    """Arguments for the verb's function. Raises BadInput for what the verb does not take."""
    own, plan, more = _options(verb)
    spelled, bare = _spelled(words, [*own, *plan, *more], verb)
    found = vars(_parser(verb, own, plan, more).parse_args(spelled))
    _take_bare(verb, bare, found)
    arguments = {option.name: found[option.name] for option in own}
    if verb.plans:
        given = {option.name: found[option.name] for option in plan if found[option.name] is not None}
        arguments["requested"] = PlanArguments(given.pop("case", None), given)
    if verb.more:
        arguments["given"] = {
            option.name: found[option.name] for option in more if found[option.name] is not None
        }
    return arguments


def help_text(verb: Verb) -> str:
    """What ``--help`` prints: usage, every option, examples."""
    return _parser(verb, *_options(verb)).format_help()


def _options(verb: Verb) -> tuple[Sequence[Option], Sequence[Option], Sequence[Option]]:
    """The verb's own options, those of a plan, and those that a module tells."""
    return (
        verb.options,
        load(PLAN_OPTIONS) if verb.plans else (),
        load(verb.more) if verb.more else (),
    )


def _spelled(words: Sequence[str], options: Sequence[Option], verb: Verb) -> tuple[list[str], list[str]]:
    """Options, each as ``--name=value``, and the words that are none."""
    known = {option.name: option for option in options}
    known |= {f"--{option.dashed}": option for option in options if option.dashed}
    flags = [option.name for option in options if option.kind == "flag"] if verb.bare_flags else []
    spelled, bare, queue = [], [], deque(words)
    while queue:
        word = queue.popleft()
        if word.startswith("-") or "=" in word or word in flags:
            spelled.append(_spelling(word, queue, known, verb))
        else:
            bare.append(word)
    return spelled, bare


def _spelling(word: str, after: deque[str], known: Mapping[str, Option], verb: Verb) -> str:
    """An option as argparse takes it, with its value from the words after it where it has none."""
    text, equals, value = word.removeprefix("--").partition("=")
    stem, _, key = text.partition(".")
    name = stem.replace("-", "_")
    option = (known.get(f"--{name}") if word.startswith("--") else None) or known.get(name)
    if option is None or (option.kind == "keyed") != bool(key):
        keyed = f".{key or 'NAME'}"
        names = {f"{each.name}{keyed}" if each.kind == "keyed" else each.name for each in known.values()}
        fix = did_you_mean(f"{name}.{key}" if key else name, names, verb.ask_help)
        raise BadInput(WHERE, None, None, f"{word!r}: unknown parameter", fix)
    if not equals:
        if option.kind == "flag":
            value = after.popleft() if after and after[0].lower() in (*_ON, *_OFF) else "1"
        elif after and not after[0].startswith("--"):
            value = after.popleft()
        else:
            raise BadInput(WHERE, None, None, f"{word!r} needs a value", f"write {option.shown}")
    return f"{_dashes(option)}={f'{key}=' if key else ''}{value}"


def _take_bare(verb: Verb, bare: Sequence[str], found: dict[str, Any]) -> None:
    """Let words without ``=`` say what they stand for; and the verb's name the case."""
    name = verb.words or ("case" if verb.plans and not verb.fixed else "")
    if bare and not name:
        flags = [option.name for option in verb.options if option.kind == "flag"] if verb.bare_flags else []
        fix = did_you_mean(bare[0], flags) if flags else "leave it out"
        raise BadInput(WHERE, verb.name, " ".join(bare), "is not understood here", fix)
    if bare and isinstance(found[name], list):
        found[name] = [*bare, *found[name]]
    elif bare:
        if len(bare) > 1 or found[name] is not None:
            given = " ".join([*bare, *([found[name]] if found[name] else [])])
            raise BadInput(WHERE, name, given, "is more than one", "keep one of them")
        found[name] = bare[0]
    if verb.fixed:
        if found["case"] is not None:
            raise BadInput(WHERE, "case", found["case"], f"{verb.name} says it already", "leave it out")
        found["case"] = verb.fixed


def _parser(verb: Verb, *groups: Sequence[Option]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=verb.name,
        usage=_usage(verb),
        description=verb.sentence,
        epilog=_notes(verb),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32),
        allow_abbrev=False,
        add_help=False,
    )
    titles = ("options", "parameters of the plan", "settings over env/bench.yaml")
    for title, options in zip(titles, groups, strict=True):
        group = parser.add_argument_group(title)
        for option in options:
            _add(group, option, hidden=bool(verb.fixed) and option.name == "case")
        if title == "options":
            group.add_argument("-h", "--help", action="help", help="print this")
    return parser


def _usage(verb: Verb) -> str:
    bare = f" [{verb.words.upper()} …]" if verb.words else " [CASE]" if verb.plans and not verb.fixed else ""
    if not verb.function:
        passes = (
            f"\n       .venv/bin/nox -s {verb.name} -- [ARGUMENTS of {verb.passes} …]" if verb.passes else ""
        )
        return f"make {verb.name}{passes}"
    if not verb.session:
        return f"heteropd {verb.name}{bare} [OPTION …]"
    return f"make {verb.name} [NAME=VALUE …]\n       .venv/bin/nox -s {verb.name} --{bare} [OPTION …]"


def _notes(verb: Verb) -> str:
    same = "name=VALUE, --name VALUE and --name=VALUE say the same; in names, - is _."
    notes = [same] if verb.function else []
    if verb.examples:
        examples = (f"  make {verb.name} {words}".rstrip() for words in verb.examples)
        notes += ["", "examples:", *examples]
    return "\n".join([*notes, *(["", f"More: {verb.page}"] if verb.page else [])])


def _add(group: argparse._ArgumentGroup, option: Option, *, hidden: bool) -> None:
    default: object = [] if option.kind == "list" else {} if option.kind == "keyed" else option.default
    group.add_argument(
        _dashes(option),
        dest=option.name,
        metavar="0|1" if option.kind == "flag" else option.metavar,
        nargs="?" if option.kind == "flag" else None,
        help=argparse.SUPPRESS if hidden else option.help.replace("%", "%%"),
        action=_Once,
        default=default,
        type=_reader(option),
    )


def _dashes(option: Option) -> str:
    return f"--{option.name.replace('_', '-')}{'.NAME' if option.kind == 'keyed' else ''}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(WHERE, None, None, message, f"see `heteropd {self.prog} --help`")


class _Once(argparse.Action):
    """Keep a value; refuse a second one. Keyed values are refused by their key."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        del parser, option
        given: set[str] = namespace.__dict__.setdefault("_given", set())
        keyed = isinstance(self.default, dict)
        name = f"{self.dest}.{values[0]}" if keyed else self.dest
        if name in given:
            shown = values[1] if keyed else values
            raise BadInput(WHERE, name, shown, "is given twice", "keep one of the two")
        given.add(name)
        if keyed:
            values = {**getattr(namespace, self.dest), values[0]: values[1]}
        setattr(namespace, self.dest, values)


def _reader(option: Option) -> Callable[[str], object]:
    """What turns an option's text into its value. Raises BadInput."""
    name = option.name

    def read(text: str) -> object:
        if not text.strip(" ," if option.kind == "list" else None):
            raise BadInput(WHERE, name, text, "is empty", f"write {option.shown} or leave it out")
        if option.kind == "flag":
            if text.lower() not in (*_ON, *_OFF):
                raise BadInput(WHERE, name, text, "is neither on nor off", f"write {name}=1 or {name}=0")
            return text.lower() in _ON
        if option.kind == "count":
            if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < option.least:
                problem = f"is not a whole number, {option.least} or more"
                raise BadInput(WHERE, name, text, problem, f"write something like {name}=5")
            return int(text)
        if option.kind == "list":
            return text.replace(",", " ").split()
        return tuple(text.split("=", 1)) if option.kind == "keyed" else text

    return read
