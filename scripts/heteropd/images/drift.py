"""`make lock check=1`: says which upstream tags and branches have moved since they were pinned."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from rich.table import Table

from heteropd.config.lock import Question
from heteropd.config.pins import Pins, PinSet
from heteropd.config.types import UNRESOLVED
from heteropd.errors import BadInput, KitError
from heteropd.images import upstream
from heteropd.images.context import BuildContext
from heteropd.images.upstream import Found


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


def run(names: list[str], context: BuildContext, *, as_json: bool) -> list[Drift]:
    """Ask upstream and print the table; what moved is news, not an error."""
    pins = [pin for name in names for pin in followed(name, context.env.pins[name])]
    rows = compare(pins, upstream.ask([pin.question for pin in pins], context))
    if as_json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        return rows
    table = Table("what", "follows", "pinned", "now", "state", box=None)
    for row in rows:
        now = "" if row.now is None or row.state == "same" else _short(row.now)
        table.add_row(row.what, row.follows, _short(row.pinned), now, row.state)
    context.console.print(table)
    return rows


def problems(rows: list[Drift]) -> list[KitError]:
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
