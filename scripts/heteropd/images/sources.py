"""Source trees for builds: the pinned commit, then the variant's commits, checked, as a folder without history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from heteropd.images.recipe import Choice
from heteropd.seams import Runner

Say = Callable[[str], None]


def prepare(choice: Choice, runner: Runner, say: Say) -> dict[str, Path]:
    """A folder for each of ``choice.sources``, made once per content and kept in the user's cache."""
    del runner, say
    if choice.sources:
        raise NotImplementedError
    return {}
