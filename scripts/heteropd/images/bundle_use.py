"""`make build images=IMAGE bundle=FOLDER`: recipes that take their bases and sources from a bundle."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from docker import DockerClient

from heteropd.config.pins import PinSet
from heteropd.containers import docker_host
from heteropd.errors import BadInput, KitError
from heteropd.images import bundle_folder, byhand, recipe
from heteropd.images.bundle_folder import Bundle, BundledBase
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Choice, Recipe


def recipes_from(folder: Path, choices: Sequence[Choice], context: BuildContext) -> list[Recipe]:
    """Recipes whose bases and sources are the bundle's; the bases are loaded into the engine.

    Raises BadInput for a bundle that was changed, or that was collected for something else.
    """
    bundle = bundle_folder.read(folder)
    for choice in choices:
        _require_same(choice, bundle, folder, context)
    bundle_folder.verify(bundle, folder)
    recipes = []
    with closing(docker_host.connect(context.env.images.engine)) as client:
        for choice in choices:
            held = bundle.images[str(choice.image)]
            trees = {name: folder / "sources" / choice.image / name for name in held.sources}
            made = recipe.render(choice, context.env, context.root, trees, base=bundle.base)
            made = byhand.applied(made, byhand.by_hand({}, held.parts, None, context.root), choice)
            base, ship = (_load(bundle.bases[ref], folder, client) for ref in (made.base, made.ship))
            images = {
                name: f"docker-image://{_load(bundle.bases[ref], folder, client)}"
                for name, ref in held.contexts.items()
            }
            parts = {name: image for name, image in images.items() if name in made.contexts}
            ready = {name: image for name, image in images.items() if name not in made.contexts}
            contexts = {**made.contexts, **parts}
            recipes.append(replace(made, base=base, ship=ship, contexts=contexts, ready=ready))
    return recipes


def _require_same(choice: Choice, bundle: Bundle, folder: Path, context: BuildContext) -> None:
    held = bundle.images.get(str(choice.image))
    what = f"{choice.image}, pins {choice.pins_name}, variant {choice.variant_name}"
    fix = f"make bundle images={choice.image} to=FOLDER"
    if held is None or (held.pins, held.variant) != (choice.pins_name, choice.variant_name):
        raise BadInput("command line", "bundle", str(folder), f"does not hold {what}", fix)
    made = recipe.render(choice, context.env, context.root, {}, base=bundle.base)
    now = (locks(choice, context), commits(choice), made.base, made.ship)
    if now != (held.locks, held.sources, held.build, held.ship):
        raise BadInput("command line", "bundle", str(folder), f"is for other locks or pins of {what}", fix)


def _load(base: BundledBase, folder: Path, client: DockerClient) -> str:
    with docker_host.reported(f"{folder}/{base.archive}"), (folder / base.archive).open("rb") as stream:
        tags = [tag for image in client.images.load(stream) for tag in image.tags]
    if base.tag not in tags:
        raise KitError(f"{folder}/{base.archive}: loading it gave no {base.tag}")
    return base.tag


def locks(choice: Choice, context: BuildContext) -> dict[str, str]:
    """SHA-256 of each lock that a build of the image installs from, by file."""
    images = context.env.images
    names = [*choice.locks(), images.tools, images.sbom]
    return {name: bundle_folder.sha256(context.root / name) for name in names}


def commits(choice: Choice) -> dict[str, str]:
    """Commit of each source of the image, by name."""
    if not isinstance(choice.pins, PinSet):
        return {}
    return {name: choice.pins.sources[name].commit for name in choice.sources}
