"""`make lock`: resolves what pin sets leave open and writes env/locks/PINS.lock.yaml."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heteropd.config import env as environment
from heteropd.config import lock as locks
from heteropd.config import yamlfile
from heteropd.config.env import pick
from heteropd.config.lock import Lock, LockedValue, Open, Question
from heteropd.config.pins import Pins
from heteropd.errors import BadInput, KitError
from heteropd.images import requirements, upstream
from heteropd.images.context import BuildContext
from heteropd.images.upstream import Answer


@dataclass(frozen=True)
class Resolved:
    """The lock of a pin set, which of its fields are new in it, and why others are not in it."""

    lock: Lock
    new: list[str]
    problems: list[BadInput]


def run(
    pins: str | None,
    context: BuildContext,
    *,
    check: bool = False,
    update: bool = False,
    as_json: bool = False,
) -> list[KitError]:
    """Write the locks of one pin set or of all, or (``check``) say what has moved upstream; what stays open,
    one problem each.

    Raises BadInput for an unknown pin set. An input that is locked already is resolved again only
    with ``update``: what moved is said by ``check``, and taking it is a decision.
    """
    names = sorted(context.env.pins) if pins is None else [pins]
    for name in names:
        pick("pins", name, context.env.pins)
    if check:
        return upstream.unchecked(upstream.drift(names, context, as_json=as_json))
    raw = environment.load(context.root, locked=False).pins
    still_open = {name: locks.open_inputs(raw[name]) for name in names}
    kept = {name: Lock(pins=name) if update else _kept(name, still_open[name], context) for name in names}
    questions = {
        value.question
        for name in names
        for value in still_open[name]
        if value.question and value.field not in kept[name].resolved
    }
    found = upstream.ask(questions, context)
    problems: list[KitError] = []
    for name in names:
        made = _resolved(raw[name], kept[name], found, f"env/pins/{name}.yaml")
        _write(made, context)
        problems += made.problems
    return problems + _requirements(names, context, update=update)


def _requirements(names: list[str], context: BuildContext, *, update: bool) -> list[KitError]:
    """Make the hashed requirements of images that are missing or old; why others could not be made."""
    problems: list[KitError] = []
    for choice in requirements.choices(names, environment.load(context.root)):
        name = requirements.file(choice)
        if requirements.is_current(choice, context.root) and not update:
            context.say(f"{name} is current")
            continue
        try:
            requirements.resolve(choice, context)
            context.say(f"wrote {name}")
        except KitError as problem:
            problems.append(problem)
    return problems


def _resolved(pins: Pins, kept: Lock, answers: Mapping[Question, Answer], where: str) -> Resolved:
    """The lock that ``kept`` and the answers make. Pure."""
    values, new, problems = dict(kept.resolved), [], []
    for still_open in locks.open_inputs(pins):
        if still_open.field in values:
            continue
        answer = answers.get(still_open.question) if still_open.question else None
        if isinstance(answer, str):
            values[still_open.field] = LockedValue(asked=still_open.asked, value=answer)
            new.append(still_open.field)
            continue
        problem = "cannot be asked for" if answer is None else "stays unresolved"
        by_hand = f"find it by hand ({still_open.resolve}) and write it into the pin set"
        field = f"{where}: {still_open.field}"
        problems.append(BadInput(field, None, None, problem, by_hand if answer is None else str(answer)))
    lock = Lock(pins=kept.pins, resolved=values)
    locks.apply(pins, lock, f"{where}: what upstream answered")
    return Resolved(lock, new, problems)


def _kept(name: str, still_open: Sequence[Open], context: BuildContext) -> Lock:
    """The lock as it is, without what the pin set no longer asks."""
    lock = locks.load(context.root, name)
    asked = {value.field: value.asked for value in still_open}
    kept = {field: value for field, value in lock.resolved.items() if asked.get(field) == value.asked}
    return Lock(pins=name, resolved=kept)


def _write(made: Resolved, context: BuildContext) -> None:
    file = locks.path(context.root, made.lock.pins)
    where = yamlfile.shown(file, context.root)
    for field in made.new:
        answer = made.lock.resolved[field]
        context.say(f"{made.lock.pins}: {field} is {answer.value} ({answer.asked})")
    text = locks.render(made.lock)
    if not made.lock.resolved and not file.exists():
        context.say(f"{made.lock.pins}: {'no lock' if made.problems else 'nothing to lock'}")
    elif file.exists() and file.read_text(encoding="utf-8") == text:
        context.say(f"{where} is current")
    else:
        file.write_text(text, encoding="utf-8")
        context.say(f"wrote {where}")
