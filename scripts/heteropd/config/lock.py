"""env/locks/PINS.lock.yaml: what the open inputs of a pin set were resolved to, and re-applying it.

A pin set says `unresolved` where nobody has looked yet. The lock answers that, and only that: a value that
the pin set states is never changed by it, and an answer to another question (the tag was changed since) is
not used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import Field

from heteropd.config import problems, yamlfile
from heteropd.config.pins import Pins
from heteropd.config.types import UNRESOLVED, Data, Name
from heteropd.errors import BadInput

AnyPins = TypeVar("AnyPins", bound=Pins)

_HEADER = """\
# yaml-language-server: $schema=../schema/lock.json
# Written by `make lock`: what the open inputs of env/pins/{pins}.yaml are. Review it and commit it.
"""


class LockedValue(Data):
    """``asked`` is what the value answers: an image's tag, a repository and ref, a package."""

    asked: str
    value: str = Field(min_length=1)


class Lock(Data):
    """The lock of one pin set: answers by field, such as ``images.gaudi.digest``."""

    pins: Name
    resolved: dict[str, LockedValue] = Field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Question:
    """What a registry or repository is asked: an image's tag, a remote's ref, a package's version."""

    kind: Literal["image", "git", "package"]
    where: str
    what: str = ""

    def __str__(self) -> str:
        return f"{self.where} {self.what}".strip()


@dataclass(frozen=True)
class Open:
    """An input that the pin set leaves open. Without a question only ``resolve``, by hand, answers it."""

    field: str
    question: Question | None
    resolve: str

    @property
    def asked(self) -> str:
        return str(self.question) if self.question else ""


def path(root: Path, pins: str) -> Path:
    """Where the lock of a pin set is."""
    return root / "env" / "locks" / f"{pins}.lock.yaml"


def load(root: Path, pins: str) -> Lock:
    """The lock of a pin set, empty where there is none. Raises BadInput."""
    file = path(root, pins)
    if not file.exists():
        return Lock(pins=pins)
    answers = yamlfile.load(Lock, file, root)
    if answers.pins != pins:
        where = yamlfile.shown(file, root)
        raise BadInput(where, "pins", answers.pins, "is the lock of another pin set", f"write {pins!r}")
    return answers


def render(lock: Lock) -> str:
    """The text of the file: the same lock is the same text."""
    body = yaml.safe_dump(lock.model_dump(mode="json"), sort_keys=True, width=110)
    return _HEADER.format(pins=lock.pins) + body


def open_inputs(pins: Pins) -> list[Open]:
    """What the pin set leaves open, in its own order."""
    data = pins.model_dump(mode="json")
    return [_open(path, node, key, data) for path, node, key in _unresolved(data, ())]


def apply(pins: AnyPins, lock: Lock, where: str) -> AnyPins:
    """The pin set with the lock's answers in it. Raises BadInput (naming ``where``) for one that is none."""
    data = pins.model_dump(mode="json")
    answers = []
    for place, node, key in _unresolved(data, ()):
        entry = _open(place, node, key, data)
        answer = lock.resolved.get(entry.field)
        if answer is not None and answer.asked == entry.asked:
            answers.append((node, key, answer.value))
    for node, key, value in answers:
        node[key] = value
        node.pop("resolve", None)  # it was for the value that is here now
    return problems.validate(type(pins), data, where) if answers else pins


def _unresolved(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any], str]]:
    if isinstance(node, list):
        node = {str(index): value for index, value in enumerate(node)}
    elif not isinstance(node, dict):
        return
    for key, value in node.items():
        if value == UNRESOLVED:
            yield path, node, key
        yield from _unresolved(value, (*path, key))


def _open(path: tuple[str, ...], node: dict[str, Any], key: str, data: dict[str, Any]) -> Open:
    return Open(".".join([*path, key]), _question(node, key, data), node.get("resolve") or "")


def _question(node: dict[str, Any], key: str, data: dict[str, Any]) -> Question | None:
    if key == "digest":
        return Question("image", node["ref"])
    if key == "commit" and node.get("ref"):
        remote = node.get("remote") or data["sources"][node["source"]]["remote"]
        return Question("git", remote, node["ref"])
    if key == "version" and node.get("package") and node.get("range"):  # the newest of all would be a guess
        return Question("package", node["package"], node["range"])
    return None
