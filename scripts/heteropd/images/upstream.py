"""Asks registries and repositories what a tag, a ref or a package is now; changes nothing."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from rich.table import Table

from heteropd.config import mirrors
from heteropd.config.lock import Question
from heteropd.config.pins import Pins, PinSet
from heteropd.config.types import UNRESOLVED
from heteropd.errors import BadInput, KitError
from heteropd.images import imagetools
from heteropd.images.context import BuildContext
from heteropd.prepare import environments, pip_settings

_AT_ONCE = 8
_GIT_TIMEOUT_S = 60.0
_PACKAGE_TIMEOUT_S = 120.0
# What the accelerators' images have: packages are wheels for them.
_FOR = ("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28")


@dataclass(frozen=True)
class Found:
    """The answer to a question, or why there is none."""

    value: str | None
    problem: KitError | None = None


def ask(questions: Iterable[Question], context: BuildContext) -> dict[Question, Found]:
    """Every question's answer; each is asked once, several at a time. Raises nothing for one without."""
    questions = sorted(set(questions))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(lambda question: _found(question, context), questions)
        return dict(zip(questions, answers, strict=True))


def _found(question: Question, context: BuildContext) -> Found:
    ways = {"image": _digest, "git": _commit, "package": _version}
    try:
        return Found(ways[question.kind](question, context))
    except KitError as problem:
        return Found(None, problem)


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
        reason = " ".join(done.err.split())[-200:] or f"exit status {done.code}"
        fix = "check the network, or name a mirror in env/mirrors.yaml"
        raise BadInput(remote, "ref", question.what, f"cannot be asked for ({reason})", fix)
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
    with TemporaryDirectory(prefix="heteropd-lock-") as folder:
        file = Path(folder) / "wanted.in"
        file.write_text(wanted + "\n")
        argv = [environments.find_uv(), "pip", "compile", "--quiet", "--no-config", "--no-deps"]
        argv += ["--no-header", "--no-annotate", *_FOR, str(file)]
        done = context.runner.run(argv, env=environ, timeout_s=_PACKAGE_TIMEOUT_S)
    name = re.escape(question.where)
    found = re.search(rf"^{name}==(\S+)", done.out, re.MULTILINE | re.IGNORECASE)
    if done.code != 0 or found is None:
        reason = " ".join(done.err.split())[-200:] or f"exit status {done.code}"
        fix = "check the name and 'range:' in the pin set, and the network"
        raise BadInput(wanted, None, None, f"no registry has it ({reason})", fix)
    return found[1]


@dataclass(frozen=True)
class Followed:
    """A pinned value, and the tag or branch that it was taken from."""

    what: str
    question: Question
    pinned: str


@dataclass(frozen=True)
class Drift:
    """Where upstream is now, for one pin."""

    what: str
    follows: str
    pinned: str
    now: str | None
    state: Literal["same", "moved", "could not check"]
    note: str = ""


def followed(name: str, pins: Pins) -> Iterator[Followed]:
    """Pins that came from something that can move: every image's tag, sources with `follows` or `ref`."""
    for image, base in pins.images.items():
        yield Followed(f"{name}: images.{image}", Question("image", base.ref), base.digest)
        if base.ships_on:
            ships = base.ships_on
            yield Followed(f"{name}: images.{image}.ships_on", Question("image", ships.ref), ships.digest)
    if not isinstance(pins, PinSet):
        return
    for key, source in pins.sources.items():
        ref = source.follows or source.ref
        if ref:
            yield Followed(f"{name}: sources.{key}", Question("git", source.remote, ref), source.commit)
    for key, variant in pins.variants.items():
        for index, pick in enumerate(variant.picks):
            if pick.ref:
                question = Question("git", pins.sources[pick.source].remote, pick.ref)
                yield Followed(f"{name}: variants.{key}.picks.{index}", question, pick.commit)


def compare(pins: list[Followed], found: Mapping[Question, Found]) -> list[Drift]:
    """One row for each pin. Pure."""
    return [_row(pin, found[pin.question]) for pin in pins]


def drift(names: list[str], context: BuildContext, *, as_json: bool) -> list[Drift]:
    """Ask upstream and print the table; what moved is news, not an error."""
    pins = [pin for name in names for pin in followed(name, context.env.pins[name])]
    rows = compare(pins, ask([pin.question for pin in pins], context))
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


def _row(pin: Followed, found: Found) -> Drift:
    follows = str(pin.question)
    if found.value is None:
        return Drift(pin.what, follows, pin.pinned, None, "could not check", str(found.problem))
    if pin.pinned == UNRESOLVED:
        note = "it is not pinned yet: make lock"
        return Drift(pin.what, follows, pin.pinned, found.value, "could not check", note)
    state: Literal["same", "moved"] = "same" if pin.pinned == found.value else "moved"
    return Drift(pin.what, follows, pin.pinned, found.value, state)


def _short(value: str) -> str:
    digest = value.removeprefix("sha256:")
    return digest[:12] if value != UNRESOLVED else value
