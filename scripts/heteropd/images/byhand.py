"""Inputs that a user gives by hand: ``source.NAME=FOLDER``, ``part.NAME=…`` and ``lock=FILE``.

A source or a lock by hand stands for the pinned one, for tests and for work on it. A part is installed
software: a folder, or ``image://REF@sha256:…:/path``, a folder of a published image. What is given by digest
is as good as pinned; anything else makes an image not locked.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from heteropd.errors import BadInput
from heteropd.images.recipe import LABEL, Choice, Recipe, Unresolved, lock_labels, part_context

_WHERE = "command line"
_IMAGE = "image://"
_BY_DIGEST = re.compile(r"(?P<ref>[^@\s]+@sha256:[0-9a-f]{64}):(?P<path>/.*)")


@dataclass(frozen=True)
class GivenPart:
    """``context`` is what BuildKit takes: a folder, or ``docker-image://REF``; ``path`` is a folder in it."""

    context: str
    path: str = ""

    @property
    def pinned(self) -> bool:
        return "@sha256:" in self.context


@dataclass(frozen=True)
class ByHand:
    """Folders and parts by name, and a file of requirements, relative to the repository."""

    sources: dict[str, Path] = field(default_factory=dict)
    parts: dict[str, GivenPart] = field(default_factory=dict)
    lock: str | None = None

    def of(self, choice: Choice) -> dict[str, Path | None]:
        """The source folders that this image is built from.

        None for trees where wheels of vLLM are given, for those are all of it.
        """
        unneeded: dict[str, Path | None] = dict.fromkeys(choice.trees if "vllm" in self.parts else [])
        return unneeded | {name: path for name, path in self.sources.items() if name in choice.sources}

    def names(self) -> list[tuple[str, str]]:
        """Kind and name of every source and part."""
        return [*(("source", name) for name in self.sources), *(("part", name) for name in self.parts)]


def by_hand(sources: Mapping[str, str], parts: Mapping[str, str], lock: str | None, root: Path) -> ByHand:
    """What is given by hand. Raises BadInput for folders and files that are not there, and for a tag."""
    return ByHand(
        {name: _folder(f"source.{name}", folder) for name, folder in sources.items()},
        {name: _part(f"part.{name}", value) for name, value in parts.items()},
        None if lock is None else _inside(lock, root),
    )


def require_used(given: ByHand, choices: Sequence[Choice]) -> None:
    """Raise BadInput for a source or part that no image has, and for one lock for several images."""
    known: dict[str, set[str]] = {
        "source": {source for choice in choices for source in choice.sources},
        "part": {part for choice in choices for part in choice.spec.parts},
    }
    for kind, name in given.names():
        if name not in known[kind]:
            fix = f"known: {', '.join(sorted(known[kind])) or 'none'}"
            raise BadInput(_WHERE, f"{kind}.{name}", None, f"no such {kind}", fix)
    if given.lock is not None and len(choices) > 1:
        raise BadInput(_WHERE, "lock", given.lock, "is for one image", "name one image")


def require_none(given: ByHand) -> None:
    """Raise BadInput for anything by hand, where a bundle brings every input."""
    for name in [*map(".".join, given.names()), *(["lock"] if given.lock else [])]:
        raise BadInput(_WHERE, name, None, "a bundle brings every input", f"leave {name}= out")


def applied(recipe: Recipe, given: ByHand, choice: Choice) -> Recipe:
    """The recipe with the lock and parts by hand, and labelled for everything that is by hand."""
    parts = {name: part for name, part in given.parts.items() if name in choice.spec.parts}
    contexts, arguments, labels = dict(recipe.contexts), dict(recipe.build_args), dict(recipe.labels)
    of_image = given.of(choice)
    names = [f"source.{name}" for name, folder in of_image.items() if folder]
    names += [f"part.{name}" for name, part in parts.items() if not part.pinned]
    for name, part in parts.items():
        add, args = part_context(name, part.context, part.path)
        contexts |= add
        arguments |= args
        labels.pop(f"{LABEL}.part.{name}", None)
        if part.pinned:
            labels[f"{LABEL}.part.{name}"] = f"{part.context.removeprefix('docker-image://')}:{part.path}"
    for name, folder in of_image.items():
        if folder is None:
            labels.pop(f"{LABEL}.source.{name}", None)
    if given.lock is not None:
        names.append("lock")
        arguments["LOCK"] = given.lock
    if not parts and not names:
        return recipe
    for name in names:  # the label would name a commit that is not what is in the image
        labels.pop(f"{LABEL}.{name}", None)
    left = [
        *still_open(recipe, given).unresolved,
        *(Unresolved(f"{_WHERE}: {name}", f"leave {name}= out") for name in names),
    ]
    labels.pop(f"{LABEL}.unlocked", None)
    labels |= lock_labels(left)
    if "ucx" in parts and choice.image == "gaudi":
        labels[f"{LABEL}.gaudi_gdr"] = "true"
    return replace(recipe, build_args=arguments, contexts=contexts, labels=labels, unresolved=tuple(left))


def still_open(recipe: Recipe, given: ByHand) -> Recipe:
    """The recipe without the open inputs that are given by hand."""
    names = [*(f"part.{name}" for name in given.parts), *(["lock"] if given.lock else [])]
    left = [value for value in recipe.unresolved if value.resolve.partition("=")[0] not in names]
    return replace(recipe, unresolved=tuple(left))


def _part(name: str, value: str) -> GivenPart:
    if not value.startswith(_IMAGE):
        return GivenPart(str(_folder(name, value)))
    reference = value.removeprefix(_IMAGE)
    if found := _BY_DIGEST.fullmatch(reference):
        return GivenPart(f"docker-image://{found['ref']}", found["path"])
    image, colon, path = reference.rpartition(":/")
    if not colon or "@" in image:
        fix = f"{name}=image://REF@sha256:…:/path names a folder of an image"
        raise BadInput(_WHERE, name, value, "is not understood", fix)
    command = f"docker buildx imagetools inspect {image}"
    fix = f"ask for its digest ({command}) and write {name}={_IMAGE}{image}@DIGEST:/{path}"
    raise BadInput(_WHERE, name, value, "is a tag, which may move", fix)


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
