"""`make bundle`: every input of images in one folder, from which they build without a network."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from docker import DockerClient
from docker.errors import ImageNotFound

from heteropd.config import mirrors
from heteropd.config.pins import StandinPins
from heteropd.containers import docker_host
from heteropd.errors import BadInput, KitError
from heteropd.images import bake, bundle_folder, byhand, recipe, sources
from heteropd.images import build as building
from heteropd.images.bake import BakeFile, Options
from heteropd.images.bundle_folder import WHEELS, Bundle, BundledBase, BundledImage
from heteropd.images.byhand import ByHand
from heteropd.images.context import BuildContext, Site, site_of_machine
from heteropd.images.recipe import Choice, Recipe
from heteropd.prepare import pip_settings

_COLLECT = "docker/bundle/Dockerfile"
_DOCKER_IMAGE = "docker-image://"
_STAGE = "heteropd-bundle-stage"


def run(
    choices: Sequence[Choice],
    context: BuildContext,
    *,
    to: str | None = None,
    base: str | None = None,
    parts: Mapping[str, str] | None = None,
) -> Path:
    """Collect a bundle; the folder. ``parts``: image://REF@sha256:…:/path by name.

    Raises BadInput, MissingPrerequisite and KitError.
    """
    parts = parts or {}
    given = byhand.by_hand({}, parts, None, context.root)
    _require_images(given)
    byhand.require_used(given, choices)
    rendered = [recipe.render(choice, context.env, context.root, {}, base=base) for choice in choices]
    recipes = [byhand.applied(made, given, choice) for made, choice in zip(rendered, choices, strict=True)]
    if base is None:
        building.require_locked(recipes, Options())
    folder = _emptied(Path(to or context.state / "bundle"))
    docker_host.require_buildx(context.runner, context.env.images.engine)
    with (
        closing(docker_host.connect(context.env.images.engine)) as client,
        site_of_machine(pip_settings.read(context.runner), context.environ) as here,
    ):
        building.run("bundle", _packages(choices, recipes, folder / WHEELS, here, context), context)
        stages = [_stages(made, here, context) for made in recipes]
        refs = {ref for made in recipes for ref in (made.base, made.ship)}
        refs |= {ref for images in stages for ref in images.values()}
        bases = {ref: _save(ref, folder, client, context) for ref in sorted(refs)}
    images = {}
    for choice, made, ready in zip(choices, recipes, stages, strict=True):
        for name, tree in sources.prepare(choice, context).items():
            shutil.copytree(tree, folder / "sources" / choice.image / name, symlinks=True)
        images[str(choice.image)] = BundledImage(
            pins=choice.pins_name,
            variant=choice.variant_name,
            build=made.base,
            ship=made.ship,
            locks=locks(choice, context),
            sources=commits(choice),
            parts={name: parts[name] for name in parts if name in choice.spec.parts},
            contexts=ready,
        )
    sums = {name: bundle_folder.sha256(path) for name, path in bundle_folder.files(folder)}
    bundle_folder.write(Bundle(base=base, images=images, bases=bases, files=sums), folder)
    return folder


def _require_images(given: ByHand) -> None:
    for name, part in given.parts.items():
        if not part.pinned:
            fix = f"part.{name}=image://REF@sha256:…:/path; a folder is given to the build itself"
            raise BadInput("command line", f"part.{name}", part.context, "cannot be bundled", fix)


def _stages(made: Recipe, here: Site, context: BuildContext) -> dict[str, str]:
    """Contexts of an image that are images: parts and, where it has system packages, stages with them.

    Those stages are built now, for where the bundle is used no distribution can be asked.
    """
    images = {
        name: value.removeprefix(_DOCKER_IMAGE)
        for name, value in made.contexts.items()
        if value.startswith(_DOCKER_IMAGE)
    }
    if made.system_packages:
        file = bake.render([made], context.env.images, here, Options(attest=False))
        names = {stage: f"{made.image}-{stage}" for stage in ("tools", "system")}
        for stage, name in names.items():
            images[stage] = f"{_STAGE}:{name}"
            file["target"][name]["output"] = [f"type=image,name={images[stage]}"]
        building.run("bundle", bake.bake_file(list(names.values()), file["target"]), context)
    return images


def _emptied(folder: Path) -> Path:
    """The folder, made empty. Only one that is new, empty or a bundle is touched."""
    folder = folder.absolute()
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / bundle_folder.MANIFEST).is_file()):
            raise BadInput("command line", "to", str(folder), "is not a bundle", "name a new or empty folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _save(ref: str, folder: Path, client: DockerClient, context: BuildContext) -> BundledBase:
    """The image as an archive, under a tag of its own: a name with a digest does not survive archiving."""
    key = hashlib.sha256(ref.encode()).hexdigest()[:12]
    base = BundledBase(archive=f"bases/{key}.tar", tag=f"heteropd-bundle:{key}")
    context.say(f"collecting {ref}")
    with docker_host.reported(ref):
        try:
            image = client.images.get(ref)
        except ImageNotFound:
            image = client.images.pull(mirrors.load(context.root, context.environ).image(ref))
        image.tag(base.tag)
        (folder / "bases").mkdir(exist_ok=True)
        with (folder / base.archive).open("wb") as stream:
            for chunk in client.api.get_image(base.tag):
                stream.write(chunk)
        client.images.remove(base.tag)
    return base


def _packages(
    choices: Sequence[Choice], recipes: Sequence[Recipe], to: Path, here: Site, context: BuildContext
) -> BakeFile:
    """A bake file whose targets write the packages of each image's locks into ``to``."""
    file = bake.render(recipes, context.env.images, here, Options(attest=False))
    targets = file["target"]
    for choice, made in zip(choices, recipes, strict=True):
        torch = choice.pins.torch if isinstance(choice.pins, StandinPins) else None
        special = torch if torch and torch.lock in choice.locks() else None
        common = [lock for lock in locks(choice, context) if not special or lock != special.lock]
        args = {"LOCKS": " ".join(common)}
        if special:
            args |= {"SPECIAL_LOCK": special.lock, "INDEX": special.index}
        target = bake.step(_COLLECT, "image", args, here, Options())
        tools = targets[str(made.image)]["contexts"]["tools"]
        target["contexts"] = {"tools": tools, **target.get("contexts", {})}
        targets[str(choice.image)] = {**target, "output": [f"type=local,dest={to}"]}
    return file


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
    return {name: source.commit for name, source in choice.pinned_sources.items()}
