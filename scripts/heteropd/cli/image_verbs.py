"""The verbs about images: build, look into, lock, publish, bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from heteropd.config.checkout import root
from heteropd.errors import EXIT_BAD_INPUT, EXIT_OK

if TYPE_CHECKING:
    from heteropd.images.context import BuildContext


def build(words: list[str]) -> int:
    """Build images: cpu, router, cuda, gaudi."""
    from heteropd.images import command

    return command.run(words, _context())


def infra(words: list[str]) -> int:
    """Test an image: what must be in it, and what must not."""
    from heteropd.images import infra as room

    return room.run(words, _context())


def publish(words: list[str]) -> int:
    """Push images to a registry, with what is in them."""
    from heteropd.images import publish as room

    room.run(words, _context())
    return EXIT_OK


def bundle(words: list[str]) -> int:
    """Collect every input of images, to build them without a network."""
    from heteropd.images import bundle as room

    context = _context()
    folder = room.run(words, context)
    context.say(f"collected {folder}; build from it: make build images=IMAGE bundle={folder}")
    return EXIT_OK


def lock(words: list[str]) -> int:
    """Resolve what pin sets leave open; `check=1` says what has moved upstream."""
    from heteropd.images import lock as room

    problems = room.run(words, _context())
    for one in problems:
        sys.stderr.write(f"heteropd: {one}\n")
    return EXIT_BAD_INPUT if problems else EXIT_OK


def _context() -> BuildContext:
    from heteropd.config import env
    from heteropd.console.width import console
    from heteropd.images.context import BuildContext

    return BuildContext(root(), env.load(root()), console())


VERBS: dict[str, Callable[[list[str]], int]] = {
    "build": build,
    "lock": lock,
    "bundle": bundle,
    "publish": publish,
}
