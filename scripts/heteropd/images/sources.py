"""Source trees for builds: the pinned commit and the variant's commits on it, checked, without history.

A tree is made once per content and kept in the user's cache; nothing of git is left in it, so that a build
sees the same bytes everywhere.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from heteropd.config import mirrors
from heteropd.config.pins import Pick, PinSet, Source, TreePart
from heteropd.config.types import UNRESOLVED
from heteropd.errors import BadInput
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Choice
from heteropd.images.repository import Repository

# Of a commit on top of an overlay: Python of the package, or files that no wheel has.
_OVERLAY = re.compile(r"vllm/.*\.py$|(tests|docs|examples|benchmarks|\.github|\.buildkite)/")


@dataclass(frozen=True)
class Tree:
    """One source of one variant: what it is made of, and the hash that git must give to the result.

    ``overlay``: its Python files are put over those of a package, so that no commit on it may change anything
    that the package was compiled from.
    """

    name: str
    where: str
    source: Source
    picks: tuple[Pick, ...]
    expected: str | None
    overlay: bool = False

    @property
    def key(self) -> str:
        """Names the content: the expected tree where one is pinned, else the commits that make it."""
        picks = [(commit.commit, commit.action, commit.prefer) for commit in self.picks]
        made_of = json.dumps([self.source.commit, picks, self.expected])
        return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def prepare(
    choice: Choice,
    context: BuildContext,
    given: Mapping[str, Path | None] | None = None,
    *,
    unlocked: bool = False,
    fetch: bool = True,
) -> dict[str, Path]:
    """A folder for each of ``choice.sources``.

    ``given``: folders by hand, taken as they are; None for a source that this build does not need.
    With ``unlocked``, picks without a commit are left out; without ``fetch``, folders are named and not made.
    Raises BadInput for a commit that is not pinned, a remote that cannot be reached or lacks it, commits that
    conflict, and a tree that is not the expected one.
    """
    given = given or {}
    for name in sorted(set(given) - set(choice.sources)):
        fix = f"sources of {choice.image}: {', '.join(choice.sources) or 'none'}"
        raise BadInput("command line", f"source.{name}", str(given[name]), "no such source", fix)
    folders = {}
    for name in choice.sources:
        if name in given:
            if folder := given[name]:
                folders[name] = folder.resolve()
            continue
        wanted = tree(choice, name, unlocked=unlocked)
        folders[name] = cache(context.environ) / "sources" / f"{wanted.name}-{wanted.key}"
        if fetch and not folders[name].is_dir():
            _make(wanted, folders[name], context)
    return folders


def tree(choice: Choice, name: str, *, unlocked: bool = False) -> Tree:
    """What a source of the choice is made of. Raises BadInput where a commit is not pinned."""
    where = f"env/pins/{choice.pins_name}.yaml"
    if not isinstance(choice.pins, PinSet):
        raise BadInput(where, "sources", name, "is not there", "add it")
    source = choice.pins.sources[name]
    picks = [commit for commit in choice.variant.picks if commit.source == name]
    left_out = [commit for commit in picks if commit.commit == UNRESOLVED] if unlocked else []
    picks = [commit for commit in picks if commit not in left_out]
    pins: list[Source | Pick] = [source, *picks]
    for pin in pins:
        if pin.commit == UNRESOLVED:
            fix = f"resolve it (make lock; by hand: {pin.resolve})"
            raise BadInput(where, f"sources.{name}", pin.commit, "is not pinned", fix)
    expected = source.tree if not picks else choice.variant.trees.get(name)
    overlaid = choice.parts.get("vllm-python")
    overlay = isinstance(overlaid, TreePart) and overlaid.tree == name
    return Tree(name, where, source, tuple(picks), None if left_out else expected, overlay)


def cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Where trees and the repositories that they come from are kept."""
    home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".cache")
    return Path(home) / "heteropd"


def _make(wanted: Tree, folder: Path, context: BuildContext) -> None:
    remote = mirrors.load(context.root, context.environ).git(wanted.source.remote)
    context.say(f"source {wanted.name}: {wanted.source.commit[:12]} of {remote}")
    bare = cache(context.environ) / "git" / hashlib.sha256(remote.encode()).hexdigest()[:16]
    epoch = context.env.images.epoch
    repository = Repository(bare, remote, wanted.where, context.runner, context.environ, epoch)
    with repository.held():
        commit = _picked(wanted, repository)
        if wanted.overlay:
            _require_python_only(wanted, repository.changed(wanted.source.commit, commit))
        _require_tree(wanted, repository.tree_of(commit))
        _export(repository, commit, folder)


def _require_tree(wanted: Tree, found: str) -> None:
    if wanted.expected not in (None, found):
        problem = f"is not the expected tree: expected {wanted.expected}, found {found}"
        fix = "find out which commit changed; do not build from it"
        raise BadInput(wanted.where, f"sources.{wanted.name}", wanted.source.commit, problem, fix)


def _require_python_only(wanted: Tree, changed: list[str]) -> None:
    """The commits on top may change Python under vllm/, and what is in no image."""
    for file in changed:
        if not _OVERLAY.match(file):
            problem = f"changes {file}, which vLLM's package was built from"
            fix = "an overlay may change Python under vllm/ only: give wheels of your own, part.vllm=FOLDER"
            raise BadInput(wanted.where, f"sources.{wanted.name}", wanted.source.commit, problem, fix)


def _picked(wanted: Tree, repository: Repository) -> str:
    """The commit at the end: the pinned one, with the picks on top of it."""
    head = repository.fetch(wanted.source.commit, parents=0)
    for pick in wanted.picks:
        if pick.action == "checkout":
            head = repository.fetch(pick.commit, parents=0)
        else:
            repository.fetch(pick.commit, parents=1)
            head = repository.pick(head, pick)
    return head


def _export(repository: Repository, commit: str, folder: Path) -> None:
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
