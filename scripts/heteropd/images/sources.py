"""Source trees for builds: the pinned commit and the variant's commits on it, checked, without history.

A tree is made once per content and kept in the user's cache; nothing of git is left in it, so that a build
sees the same bytes everywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from heteropd.config import mirrors
from heteropd.config.pins import Pick, PinSet, Source
from heteropd.config.types import UNRESOLVED
from heteropd.errors import BadInput
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Choice
from heteropd.images.repository import Repository


@dataclass(frozen=True)
class Tree:
    """One source of one variant: what it is made of, and the hash that git must give to the result."""

    name: str
    where: str
    source: Source
    picks: tuple[Pick, ...]
    expected: str | None

    @property
    def key(self) -> str:
        """Names the content: the expected tree where one is pinned, else the commits that make it."""
        picks = [(one.commit, one.action, one.prefer) for one in self.picks]
        made_of = json.dumps([self.source.commit, picks, self.expected])
        return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def prepare(
    choice: Choice, shop: BuildContext, given: Mapping[str, Path] | None = None, *, unlocked: bool = False
) -> dict[str, Path]:
    """A folder for each of ``choice.sources``. ``given``: folders by hand, taken as they are.

    With ``unlocked``, picks without a commit are left out. Raises BadInput for a commit that is not pinned, a
    remote that cannot be reached or lacks it, commits that conflict, and a tree that is not the expected one.
    """
    given = given or {}
    for name in sorted(set(given) - set(choice.sources)):
        known = ", ".join(choice.sources) or "none"
        fix = f"sources of {choice.image}: {known}"
        raise BadInput("command line", f"source.{name}", str(given[name]), "no such source", fix)
    site = mirrors.load(shop.root, shop.environ)
    made = {}
    for name in choice.sources:
        if name in given:
            made[name] = _folder(name, given[name])
        else:
            made[name] = _made(tree(choice, name, unlocked=unlocked), site, shop)
    return made


def tree(choice: Choice, name: str, *, unlocked: bool = False) -> Tree:
    """What a source of the choice is made of. Raises BadInput where a commit is not pinned."""
    if not isinstance(choice.pins, PinSet):
        raise BadInput(f"env/pins/{choice.pins_name}.yaml", "sources", name, "is not there", "add it")
    where = f"env/pins/{choice.pins_name}.yaml"
    source = choice.pins.sources[name]
    picks = [one for one in choice.variant.picks if one.source == name]
    left_out = [one for one in picks if one.commit == UNRESOLVED] if unlocked else []
    picks = [one for one in picks if one not in left_out]
    for commit, resolve in ((one.commit, one.resolve) for one in _pinned(source, picks)):
        if commit == UNRESOLVED:
            fix = f"resolve it (make lock; by hand: {resolve})"
            raise BadInput(where, f"sources.{name}", commit, "is not pinned", fix)
    expected = source.tree if not picks else choice.variant.trees.get(name)
    return Tree(name, where, source, tuple(picks), None if left_out else expected)


def _pinned(source: Source, picks: list[Pick]) -> Iterator[Source | Pick]:
    yield source
    yield from picks


def cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Where trees and the repositories that they come from are kept."""
    home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".cache")
    return Path(home) / "heteropd"


def _made(wanted: Tree, site: mirrors.Mirrors, shop: BuildContext) -> Path:
    folder = cache(shop.environ) / "sources" / f"{wanted.name}-{wanted.key}"
    if folder.is_dir():
        return folder
    remote = site.git(wanted.source.remote)
    shop.say(f"source {wanted.name}: {wanted.source.commit[:12]} of {remote}")
    bare = cache(shop.environ) / "git" / hashlib.sha256(remote.encode()).hexdigest()[:16]
    repository = Repository(bare, remote, wanted.where, shop.runner, shop.environ, shop.env.images.epoch)
    with repository.held():
        commit = _picked(wanted, repository)
        _require_tree(wanted, repository.tree_of(commit))
        _exported(repository, commit, folder)
    return folder


def _require_tree(wanted: Tree, got: str) -> None:
    if wanted.expected not in (None, got):
        problem = f"is not the expected tree: expected {wanted.expected}, got {got}"
        fix = "find out which commit changed; do not build from it"
        raise BadInput(wanted.where, f"sources.{wanted.name}", wanted.source.commit, problem, fix)


def _picked(wanted: Tree, repository: Repository) -> str:
    """The commit at the end: the pinned one, with the picks on top of it."""
    head = repository.fetch(wanted.source.commit, parents=0)
    for one in wanted.picks:
        if one.action == "checkout":
            head = repository.fetch(one.commit, parents=0)
        else:
            repository.fetch(one.commit, parents=1)
            head = repository.pick(head, one)
    return head


def _exported(repository: Repository, commit: str, folder: Path) -> None:
    """Write the tree beside its place and move it there: a folder in the cache is always whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".making-", dir=folder.parent) as making:
        whole = Path(making) / "tree"
        repository.export(commit, whole)
        try:
            whole.rename(folder)
        except OSError:  # another build was faster
            if not folder.is_dir():
                raise
            shutil.rmtree(whole, ignore_errors=True)


def _folder(name: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise BadInput(
            "command line", f"source.{name}", str(folder), "is not a folder", "name the folder of a tree"
        )
    return folder.resolve()
