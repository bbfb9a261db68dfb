"""`make build images=IMAGE bundle=FOLDER`: recipes that take their bases and sources from a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from docker import DockerClient

from heteropd.config.pins import PinSet
from heteropd.containers import docker_host
from heteropd.errors import BadInput, KitError
from heteropd.images import bundle_folder, recipe
from heteropd.images.bundle_folder import Bundle, BundledBase
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Choice, Recipe


def recipes_from(folder: Path, choices: Sequence[Choice], shop: BuildContext) -> list[Recipe]:
    """Recipes whose bases and sources are the bundle's; the bases are loaded into the engine.

    Raises BadInput for a bundle that was changed, or that was collected for something else.
    """
    bundle = bundle_folder.read(folder)
    for choice in choices:
        _require_same(choice, bundle, folder, shop)
    bundle_folder.verify(bundle, folder)
    made = []
    client = docker_host.connect(shop.env.images.engine)
    try:
        for choice in choices:
            held = bundle.images[str(choice.image)]
            contexts = {name: folder / "sources" / choice.image / name for name in held.sources}
            one = recipe.render(choice, shop.env, shop.root, contexts, base=bundle.base)
            tags = {key: _load(bundle.bases[one.build_args[key]], folder, client) for key in ("BASE", "SHIP")}
            made.append(replace(one, build_args={**one.build_args, **tags}))
    finally:
        client.close()
    return made


def _require_same(choice: Choice, bundle: Bundle, folder: Path, shop: BuildContext) -> None:
    held = bundle.images.get(str(choice.image))
    what = f"{choice.image}, pins {choice.pins_name}, variant {choice.variant_name}"
    fix = f"make bundle images={choice.image} to=FOLDER"
    if held is None or (held.pins, held.variant) != (choice.pins_name, choice.variant_name):
        raise BadInput("command line", "bundle", str(folder), f"does not hold {what}", fix)
    one = recipe.render(choice, shop.env, shop.root, {}, base=bundle.base)
    now = (locks(choice, shop.root), commits(choice), one.build_args["BASE"], one.build_args["SHIP"])
    if now != (held.locks, held.sources, held.build, held.ship):
        raise BadInput("command line", "bundle", str(folder), f"is for other locks or pins of {what}", fix)


def _load(base: BundledBase, folder: Path, client: DockerClient) -> str:
    with docker_host.reported(f"{folder}/{base.archive}"), (folder / base.archive).open("rb") as stream:
        tags = [tag for image in client.images.load(stream) for tag in image.tags]
    if base.tag not in tags:
        raise KitError(f"{folder}/{base.archive}: loading it gave no {base.tag}")
    return base.tag


def locks(choice: Choice, root: Path) -> dict[str, str]:
    """SHA-256 of each lock of the image, by file."""
    return {lock: bundle_folder.sha256(root / lock) for lock in choice.locks()}


def commits(choice: Choice) -> dict[str, str]:
    """Commit of each source of the image, by name."""
    if not isinstance(choice.pins, PinSet):
        return {}
    return {name: choice.pins.sources[name].commit for name in choice.sources}
