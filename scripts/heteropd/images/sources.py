"""Source trees for builds: the pinned commit and the variant's commits, checked, without history."""

from __future__ import annotations

from pathlib import Path

from heteropd.images.recipe import Choice
from heteropd.images.workshop import Workshop


def prepare(choice: Choice, shop: Workshop) -> dict[str, Path]:
    """A folder for each of ``choice.sources``, made once per content and kept in the user's cache."""
    del shop
    if choice.sources:
        raise NotImplementedError
    return {}
