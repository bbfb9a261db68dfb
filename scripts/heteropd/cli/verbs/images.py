"""The verbs about images: build, lock, publish, bundle."""

import sys
from collections.abc import Mapping

from heteropd.app import wiring
from heteropd.config.checkout import root
from heteropd.errors import EXIT_BAD_INPUT, EXIT_OK, BadInput
from heteropd.images import bundle as bundle_room
from heteropd.images import byhand, command
from heteropd.images import lock as lock_room
from heteropd.images import publish as publish_room
from heteropd.images.bake import Options


def build(
    *,
    images: list[str],
    pins: str | None,
    variant: str | None,
    base: str | None,
    source: Mapping[str, str],
    part: Mapping[str, str],
    lock: str | None,
    cache: str | None,
    bundle: str | None,
    unlocked: bool,
    no_cache: bool,
    offline: bool,
    print: bool,
) -> int:
    """Build images, and look at what is in them; 0, or 1 when that is wrong."""
    context = wiring.build_context(root())
    request = command.BuildRequest(
        choices=command.chosen(images, pins, variant, context.env),
        base=base,
        bundle=bundle,
        by_hand=byhand.by_hand(source, part, lock, root()),
        options=Options(unlocked=unlocked, no_cache=no_cache, offline=offline, cache=cache),
        print_only=print,
    )
    return command.run(request, context)


def lock(*, pins: str | None, check: bool, update: bool, json: bool) -> int:
    """Resolve what pin sets leave open; ``check`` says what has moved upstream."""
    if check and update:
        fix = "leave one out: check=1 changes nothing"
        raise BadInput("command line", "update", 1, "does not go with check=1", fix)
    if json and not check:
        raise BadInput("command line", "json", 1, "is for check=1 alone", "add check=1, or leave it out")
    problems = lock_room.run(pins, wiring.build_context(root()), check=check, update=update, as_json=json)
    for problem in problems:
        sys.stderr.write(f"heteropd: {problem}\n")
    return EXIT_BAD_INPUT if problems else EXIT_OK


def publish(
    *,
    images: list[str],
    registry: str | None,
    pins: str | None,
    variant: str | None,
    sign: str | None,
    unlocked: bool,
    dry_run: bool,
) -> int:
    """Push images to a registry, with what is in them."""
    context = wiring.build_context(root())
    options = publish_room.PublishOptions(registry, sign, unlocked=unlocked, dry_run=dry_run)
    publish_room.run(command.chosen(images, pins, variant, context.env), options, context)
    return EXIT_OK


def bundle(
    *,
    images: list[str],
    to: str | None,
    pins: str | None,
    variant: str | None,
    base: str | None,
    part: Mapping[str, str],
) -> int:
    """Collect every input of images, to build them without a network."""
    context = wiring.build_context(root())
    choices = command.chosen(images, pins, variant, context.env)
    folder = bundle_room.run(choices, context, to=to, base=base, parts=part)
    context.say(f"collected {folder}; build from it: make build images=IMAGE bundle={folder}")
    return EXIT_OK
