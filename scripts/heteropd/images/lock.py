"""`make lock`: resolves what pin sets leave open and writes env/locks/PINS.lock.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heteropd.config import env as environment
from heteropd.config import lock as locks
from heteropd.config import yamlfile
from heteropd.config.arguments import Arguments
from heteropd.config.env import pick
from heteropd.config.lock import Lock, LockedValue, Open, Question
from heteropd.config.pins import Pins
from heteropd.errors import BadInput, KitError
from heteropd.images import drift, upstream
from heteropd.images.context import BuildContext
from heteropd.images.upstream import Found

_FLAGS = ("check", "update", "json")


@dataclass(frozen=True)
class Resolved:
    """The lock of a pin set, which of its fields are new in it, and why others are not in it."""

    lock: Lock
    new: list[str]
    problems: list[KitError]


def run(words: list[str], shop: BuildContext) -> list[KitError]:
    """Write the locks, or (``check``) say what has moved upstream; what stays open, one problem each.

    Raises BadInput for words that are not understood. An input that is locked already is asked for again
    only with ``update``: what moved is said by ``check``, and taking it is a decision.
    """
    parsed = Arguments([f"--{word}" if word in _FLAGS else word for word in words], _FLAGS, ("pins",))
    parsed.none_left("lock")
    names = [parsed.options["pins"]] if "pins" in parsed.options else sorted(shop.env.pins)
    for name in names:
        pick("pins", name, shop.env.pins)
    if "check" in parsed.flags:
        drift.run(names, shop, as_json="json" in parsed.flags)
        return []
    raw = environment.load(shop.root, locked=False).pins
    open_ = {name: locks.open_inputs(raw[name]) for name in names}
    kept = {name: Lock(pins=name) if "update" in parsed.flags else _kept(name, open_, shop) for name in names}
    found = upstream.ask(_questions(open_, kept), shop)
    problems = []
    for name in names:
        made = resolved(raw[name], kept[name], found, f"env/pins/{name}.yaml")
        _write(made, shop)
        problems += made.problems
    return problems


def resolved(pins: Pins, kept: Lock, found: Mapping[Question, Found], where: str) -> Resolved:
    """The lock that ``kept`` and the answers make. Pure."""
    answers, new, problems = dict(kept.resolved), [], []
    for one in locks.open_inputs(pins):
        if one.field in answers:
            continue
        answer = found.get(one.question) if one.question else None
        if answer is not None and answer.value is not None:
            answers[one.field] = LockedValue(asked=one.asked, value=answer.value)
            new.append(one.field)
        else:
            problems.append(_open_still(one, answer, where))
    lock = Lock(pins=kept.pins, resolved=answers)
    locks.apply(pins, lock, f"{where}: what upstream answered")
    return Resolved(lock, new, problems)


def _kept(name: str, open_: Mapping[str, list[Open]], shop: BuildContext) -> Lock:
    """The lock as it is, without what the pin set no longer asks."""
    lock = locks.load(shop.root, name)
    asked = {one.field: one.asked for one in open_[name]}
    return Lock(
        pins=name,
        resolved={field: one for field, one in lock.resolved.items() if asked.get(field) == one.asked},
    )


def _questions(open_: Mapping[str, list[Open]], kept: Mapping[str, Lock]) -> set[Question]:
    return {
        one.question
        for name, each in open_.items()
        for one in each
        if one.question and one.field not in kept[name].resolved
    }


def _open_still(one: Open, answer: Found | None, where: str) -> KitError:
    if answer is not None and answer.problem is not None:
        return BadInput(f"{where}: {one.field}", None, None, "stays unresolved", str(answer.problem))
    fix = f"find it by hand ({one.resolve}) and write it into the pin set"
    return BadInput(f"{where}: {one.field}", None, None, "cannot be asked for", fix)


def _write(made: Resolved, shop: BuildContext) -> None:
    file = locks.path(shop.root, made.lock.pins)
    where = yamlfile.shown(file, shop.root)
    for field in made.new:
        answer = made.lock.resolved[field]
        shop.say(f"{made.lock.pins}: {field} is {answer.value} ({answer.asked})")
    text = locks.render(made.lock)
    if not made.lock.resolved and not file.exists():
        shop.say(f"{made.lock.pins}: nothing to lock" if not made.problems else f"{made.lock.pins}: no lock")
    elif file.exists() and file.read_text(encoding="utf-8") == text:
        shop.say(f"{where} is current")
    else:
        file.write_text(text, encoding="utf-8")
        shop.say(f"wrote {where}")
