"""Asks registries and repositories what a tag, a ref or a package is now, and says which pins have moved.

Nothing is changed: `make lock` writes what it learns here, `make lock check=1` only says it.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from rich.table import Table

from heteropd.config import mirrors
from heteropd.config.lock import Question
from heteropd.config.pins import Pins, PinSet
from heteropd.config.types import UNRESOLVED
from heteropd.errors import BadInput, KitError
from heteropd.images import imagetools, requirements
from heteropd.images.context import BuildContext
from heteropd.prepare import pip_settings
from heteropd.system import parallel_map

_AT_ONCE = 8
_GIT_TIMEOUT_S = 60.0
# What the accelerators' images have: packages are wheels for them.
_FOR = ("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28")

Answer = str | KitError  # what upstream has, or why that is not known


@dataclass(frozen=True)
class Drift:
    """Where upstream is now, for one pin; ``follows`` is the tag or branch that it was taken from."""

    what: str
    follows: str
    pinned: str
    now: str | None
    state: Literal["same", "moved", "could not check"]
    note: str = ""


def ask(questions: Iterable[Question], context: BuildContext) -> dict[Question, Answer]:
    """Every question's answer; each is asked once, several at a time. Raises nothing for one without."""
    questions = sorted(set(questions))
    answers = parallel_map(lambda question: _answer(question, context), questions, _AT_ONCE)
    return dict(zip(questions, answers, strict=True))


def drift(names: list[str], context: BuildContext, *, as_json: bool) -> list[Drift]:
    """Ask upstream about pin sets and print the table; what moved is news, not an error."""
    pins = [pin for name in names for pin in _followed(name, context.env.pins[name])]
    answers = ask([question for _, question, _ in pins], context)
    rows = [_row(what, question, pinned, answers[question]) for what, question, pinned in pins]
    if as_json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        return rows
    table = Table("what", "follows", "pinned", "now", "state", box=None)
    for row in rows:
        now = "" if row.now is None or row.state == "same" else _short(row.now)
        table.add_row(row.what, row.follows, _short(row.pinned), now, row.state)
    context.console.print(table)
    return rows


def unchecked(rows: list[Drift]) -> list[KitError]:
    """One for each reason why pins could not be checked, with the pins that it keeps from it."""
    by_note: dict[str, list[str]] = {}
    for row in rows:
        if row.state == "could not check":
            by_note.setdefault(row.note, []).append(row.what)
    return [
        BadInput(", ".join(dict.fromkeys(pins)), None, None, "could not be checked", note)
        for note, pins in by_note.items()
    ]


def _followed(name: str, pins: Pins) -> Iterator[tuple[str, Question, str]]:
    """Pins that came from something that can move, that, and the pinned value: every image's tag, sources
    and picks with `follows` or `ref`."""
    for image, base in pins.images.items():
        yield f"{name}: images.{image}", Question("image", base.ref), base.digest
        if ships := base.ships_on:
            yield f"{name}: images.{image}.ships_on", Question("image", ships.ref), ships.digest
    if not isinstance(pins, PinSet):
        return
    for key, source in pins.sources.items():
        if ref := source.follows or source.ref:
            yield f"{name}: sources.{key}", Question("git", source.remote, ref), source.commit
    for key, variant in pins.variants.items():
        for index, pick in enumerate(variant.picks):
            if pick.ref:
                question = Question("git", pins.sources[pick.source].remote, pick.ref)
                yield f"{name}: variants.{key}.picks.{index}", question, pick.commit


def _row(what: str, question: Question, pinned: str, answer: Answer) -> Drift:
    follows = str(question)
    if isinstance(answer, KitError):
        return Drift(what, follows, pinned, None, "could not check", str(answer))
    if pinned == UNRESOLVED:
        return Drift(what, follows, pinned, answer, "could not check", "it is not pinned yet: make lock")
    return Drift(what, follows, pinned, answer, "same" if pinned == answer else "moved")


def _short(value: str) -> str:
    return value if value == UNRESOLVED else value.removeprefix("sha256:")[:12]


def _answer(question: Question, context: BuildContext) -> Answer:
    ways = {"image": _digest, "git": _commit, "package": _version}
    try:
        return ways[question.kind](question, context)
    except KitError as problem:
        return problem


def _digest(question: Question, context: BuildContext) -> str:
    image = mirrors.load(context.root, context.environ).image(question.where)
    found = imagetools.digest(image, context.runner, context.environ)
    if found is None:
        fix = "check the name; a tag may have been removed upstream"
        raise BadInput(image, None, None, "there is no such image", fix)
    return found


def _commit(question: Question, context: BuildContext) -> str:
    remote = mirrors.load(context.root, context.environ).git(question.where)
    # A tag object is not a commit; git lists what it points to as REF^{}.
    refs = [question.what, f"{question.what}^{{}}"]
    environ = {**context.environ, "GIT_TERMINAL_PROMPT": "0"}
    done = context.runner.run(["git", "ls-remote", remote, *refs], env=environ, timeout_s=_GIT_TIMEOUT_S)
    if done.code != 0:
        fix = "check the network, or name a mirror in env/mirrors.yaml"
        raise BadInput(remote, "ref", question.what, f"cannot be asked for ({done.why})", fix)
    lines = [line.split("\t", 1) for line in done.out.splitlines() if "\t" in line]
    found = {ref: commit for commit, ref in lines}
    for ref in reversed(refs):
        if ref in found:
            return found[ref]
    raise BadInput(remote, "ref", question.what, "no such ref", "correct 'ref:' or 'follows:' in the pin set")


def _version(question: Question, context: BuildContext) -> str:
    """The newest version that the range allows, where this machine's pip looks."""
    wanted = f"{question.where}{question.what}"
    # The version is for another Python than this machine's: uv must not fetch that one to find it.
    environ = {"UV_PYTHON_DOWNLOADS": "never", **context.environ}
    environ |= pip_settings.variables(pip_settings.read(context.runner), context.environ)
    done = requirements.compiled([wanted], ["--no-deps", *_FOR], environ, context)
    name = re.escape(question.where)
    found = re.search(rf"^{name}==(\S+)", done.out, re.MULTILINE | re.IGNORECASE)
    if done.code != 0 or found is None:
        fix = "check the name and 'range:' in the pin set, and the network"
        raise BadInput(wanted, None, None, f"no registry has it ({done.why})", fix)
    return found[1]
