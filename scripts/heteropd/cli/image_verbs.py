"""The verbs about images: build, look into, lock, publish, bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from heteropd.config.checkout import root
from heteropd.errors import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from heteropd.images.context import BuildContext


def build(words: list[str]) -> int:
    """Build images: cpu, router, cuda, gaudi."""
    from heteropd.images import command, contents

    shop = _workshop()
    built = command.build(words, shop)
    for one in built:
        shop.say(f"built {one.recipe.tag} in {one.seconds:.1f} s")
    return EXIT_OK if contents.judge([one.recipe for one in built], shop) else EXIT_FAILED


def infra(words: list[str]) -> int:
    """Test an image: what must be in it, and what must not."""
    from heteropd.images import infra as room

    return room.run(words, _workshop())


def publish(words: list[str]) -> int:
    """Push images to a registry, with what is in them."""
    from heteropd.images import publish as room

    room.run(words, _workshop())
    return EXIT_OK


def bundle(words: list[str]) -> int:
    """Collect every input of images, to build them without a network."""
    from heteropd.images import bundle as room

    shop = _workshop()
    folder = room.run(words, shop)
    shop.say(f"collected {folder}; build from it: make build images=IMAGE bundle={folder}")
    return EXIT_OK


def lock(words: list[str]) -> int:
    """Resolve what pin sets leave open; `check=1` says what has moved upstream."""
    from heteropd.images import lock as room

    problems = room.run(words, _workshop())
    for one in problems:
        sys.stderr.write(f"heteropd: {one}\n")
    return EXIT_BAD_INPUT if problems else EXIT_OK


def _workshop() -> BuildContext:
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
