"""Inputs that a user gives by hand instead of the pinned ones: ``source.NAME=FOLDER`` and ``lock=FILE``.

For tests and for work on a source. An image made with one of them is labelled as not locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from heteropd.errors import BadInput
from heteropd.images.recipe import LABEL, Choice, Recipe, Unresolved

_WHERE = "command line"


@dataclass(frozen=True)
class ByHand:
    """Folders by the name of the source, and a file of requirements, relative to the repository."""

    sources: dict[str, Path] = field(default_factory=dict)
    lock: str | None = None

    def of(self, choice: Choice) -> dict[str, Path]:
        """The folders that this image is built from."""
        return {name: folder for name, folder in self.sources.items() if name in choice.sources}


def taken(words: Sequence[str], root: Path) -> tuple[ByHand, list[str]]:
    """What the words give by hand, and the other words. Raises BadInput for folders and files not there."""
    found: dict[str, Path] = {}
    lock, rest = None, []
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if equals and name.startswith("source."):
            found[name.removeprefix("source.")] = _folder(name, value)
        elif equals and name == "lock":
            lock = _inside(value, root)
        else:
            rest.append(word)
    return ByHand(found, lock), rest


def require_used(given: ByHand, choices: Sequence[Choice]) -> None:
    """Raise BadInput for a source that no image has, and for one lock for several images."""
    for name, folder in given.sources.items():
        if not any(name in choice.sources for choice in choices):
            known = sorted({source for choice in choices for source in choice.sources})
            mend = f"known: {', '.join(known) or 'none'}"
            raise BadInput(_WHERE, f"source.{name}", str(folder), "no such source", mend)
    if given.lock is not None and len(choices) > 1:
        raise BadInput(_WHERE, "lock", given.lock, "is for one image", "name one image")


def require_none(given: ByHand) -> None:
    """Raise BadInput for anything by hand, where a bundle brings every input."""
    for name in [*(f"source.{source}" for source in given.sources), *(["lock"] if given.lock else [])]:
        raise BadInput(_WHERE, name, None, "a bundle brings every input", f"leave {name}= out")


def applied(recipe: Recipe, given: ByHand) -> Recipe:
    """The recipe with the lock by hand, and labelled for everything that is by hand."""
    names = [f"source.{name}" for name in given.sources if name in recipe.contexts]
    arguments = dict(recipe.build_args)
    if given.lock is not None:
        names.append("lock")
        arguments["LOCK_0"] = given.lock
    if not names:
        return recipe
    left = [*recipe.unresolved, *(Unresolved(f"{_WHERE}: {name}", f"leave {name}= out") for name in names)]
    labels = {
        **recipe.labels,
        f"{LABEL}.locked": "false",
        f"{LABEL}.unlocked": ", ".join(one.where for one in left),
    }
    for name in names:  # the label would name a commit that is not what is in the image
        labels.pop(f"{LABEL}.{name}", None)
    return replace(recipe, build_args=arguments, labels=labels, unresolved=tuple(left))


def _folder(name: str, value: str) -> Path:
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise BadInput(_WHERE, name, value, "is not a folder", f"{name}=FOLDER names the folder of a tree")
    return folder.resolve()


def _inside(value: str, root: Path) -> str:
    """The build sees the checkout alone, so the file must lie in it."""
    file = (root / value).resolve()
    if not file.is_file():
        raise BadInput(_WHERE, "lock", value, "no such file", "lock=FILE, relative to the repository")
    if not file.is_relative_to(root.resolve()):
        raise BadInput(_WHERE, "lock", value, "lies outside of the repository", "copy it into the repository")
    return str(file.relative_to(root.resolve()))
