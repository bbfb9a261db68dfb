"""Inputs that a user gives by hand: ``source.NAME=FOLDER``, ``part.NAME=FOLDER`` and ``lock=FILE``.

A source or a lock by hand stands for the pinned one, for tests and for work on it. A part is installed
software that the kit does not make, such as a UCX with its transport. Any of them makes an image not locked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from heteropd.errors import BadInput
from heteropd.images.recipe import LABEL, Choice, Recipe, Unresolved

_WHERE = "command line"


@dataclass(frozen=True)
class ByHand:
    """Folders by the name of the source or part, and a file of requirements, relative to the repository."""

    sources: dict[str, Path] = field(default_factory=dict)
    parts: dict[str, Path] = field(default_factory=dict)
    lock: str | None = None

    def of(self, choice: Choice) -> dict[str, Path]:
        """The folders that this image is built from."""
        return {name: folder for name, folder in self.sources.items() if name in choice.sources}


def by_hand(sources: Mapping[str, str], parts: Mapping[str, str], lock: str | None, root: Path) -> ByHand:
    """What is given by hand. Raises BadInput for folders and files that are not there."""
    return ByHand(
        {name: _folder(f"source.{name}", folder) for name, folder in sources.items()},
        {name: _folder(f"part.{name}", folder) for name, folder in parts.items()},
        None if lock is None else _inside(lock, root),
    )


def require_used(given: ByHand, choices: Sequence[Choice]) -> None:
    """Raise BadInput for a source or part that no image has, and for one lock for several images."""
    sources = {source for choice in choices for source in choice.sources}
    parts = {part for choice in choices for part in _parts(choice)}
    for kind, folders, known in (("source", given.sources, sources), ("part", given.parts, parts)):
        for name, folder in folders.items():
            if name not in known:
                fix = f"known: {', '.join(sorted(known)) or 'none'}"
                raise BadInput(_WHERE, f"{kind}.{name}", str(folder), f"no such {kind}", fix)
    if given.lock is not None and len(choices) > 1:
        raise BadInput(_WHERE, "lock", given.lock, "is for one image", "name one image")


def require_none(given: ByHand) -> None:
    """Raise BadInput for anything by hand, where a bundle brings every input."""
    sources = [f"source.{source}" for source in given.sources]
    parts = [f"part.{part}" for part in given.parts]
    for name in [*sources, *parts, *(["lock"] if given.lock else [])]:
        raise BadInput(_WHERE, name, None, "a bundle brings every input", f"leave {name}= out")


def applied(recipe: Recipe, given: ByHand, choice: Choice) -> Recipe:
    """The recipe with the lock and parts by hand, and labelled for everything that is by hand."""
    names = [f"source.{name}" for name in given.sources if name in recipe.contexts]
    parts = {name: folder for name, folder in given.parts.items() if name in _parts(choice)}
    names += [f"part.{name}" for name in parts]
    contexts = {**recipe.contexts, **{f"{name}-part": folder for name, folder in parts.items()}}
    arguments = dict(recipe.build_args)
    if given.lock is not None:
        names.append("lock")
        arguments["LOCK"] = given.lock
    if not names:
        return recipe
    left = [
        *still_open(recipe, given).unresolved,
        *(Unresolved(f"{_WHERE}: {name}", f"leave {name}= out") for name in names),
    ]
    labels = {
        **recipe.labels,
        f"{LABEL}.locked": "false",
        f"{LABEL}.unlocked": ", ".join(value.where for value in left),
    }
    for name in names:  # the label would name a commit that is not what is in the image
        labels.pop(f"{LABEL}.{name}", None)
    return replace(recipe, build_args=arguments, contexts=contexts, labels=labels, unresolved=tuple(left))


def still_open(recipe: Recipe, given: ByHand) -> Recipe:
    """The recipe without the open inputs that are given by hand."""
    names = [*(f"part.{name}" for name in given.parts), *(["lock"] if given.lock else [])]
    left = [value for value in recipe.unresolved if value.resolve.partition("=")[0] not in names]
    return replace(recipe, unresolved=tuple(left))


def _parts(choice: Choice) -> list[str]:
    return [*choice.spec.parts, *choice.spec.optional_parts]


def _folder(name: str, value: str) -> Path:
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise BadInput(_WHERE, name, value, "is not a folder", f"{name}=FOLDER names the folder of a tree")
    return folder.resolve()


def _inside(value: str, root: Path) -> str:
    """A build sees only what .dockerignore lets through: of requirements, env/locks."""
    file = (root / value).resolve()
    if not file.is_file():
        raise BadInput(_WHERE, "lock", value, "no such file", "lock=FILE, relative to the repository")
    if not file.is_relative_to((root / "env" / "locks").resolve()):
        raise BadInput(_WHERE, "lock", value, "lies outside of env/locks", "copy it there")
    return str(file.relative_to(root.resolve()))
