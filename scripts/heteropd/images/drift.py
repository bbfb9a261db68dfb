"""`make lock check=1`: says which upstream tags and branches have moved since they were pinned."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from rich.table import Table

from heteropd.config.lock import Question
from heteropd.config.pins import Pins, PinSet
from heteropd.config.types import UNRESOLVED
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
        for index, one in enumerate(variant.picks):
            if one.ref:
                question = Question("git", pins.sources[one.source].remote, one.ref)
                yield Followed(f"{name}: variants.{key}.picks.{index}", question, one.commit)


def compare(each: list[Followed], found: Mapping[Question, Found]) -> list[Drift]:
    """One row for each pin. Pure."""
    return [_row(one, found[one.question]) for one in each]


def run(names: list[str], shop: BuildContext, *, as_json: bool) -> list[Drift]:
    """Ask upstream and print the table; what moved is news, not an error."""
    each = [one for name in names for one in followed(name, shop.env.pins[name])]
    rows = compare(each, upstream.ask([one.question for one in each], shop))
    if as_json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        return rows
    table = Table("what", "follows", "pinned", "now", "state", box=None)
    for row in rows:
        now = "" if row.now is None or row.state == "same" else _short(row.now)
        table.add_row(row.what, row.follows, _short(row.pinned), now, row.state)
    shop.console.print(table)
    for note in dict.fromkeys(row.note for row in rows if row.note):
        shop.say(f"could not check: {note}")
    return rows


def _row(one: Followed, found: Found) -> Drift:
    follows = str(one.question)
    if found.value is None:
        return Drift(one.what, follows, one.pinned, None, "could not check", str(found.problem))
    if one.pinned == UNRESOLVED:
        note = f"{one.what} is not pinned yet (make lock)"
        return Drift(one.what, follows, one.pinned, found.value, "could not check", note)
    state: Literal["same", "moved"] = "same" if one.pinned == found.value else "moved"
    return Drift(one.what, follows, one.pinned, found.value, state)


def _short(value: str) -> str:
    digest = value.removeprefix("sha256:")
    return digest[:12] if value != UNRESOLVED else value
