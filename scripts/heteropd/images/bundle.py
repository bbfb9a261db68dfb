"""`make bundle`: every input of images in one folder, from which they build without a network."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from docker import DockerClient
from docker.errors import ImageNotFound

from heteropd.config import mirrors
from heteropd.config.pins import StandinPins
from heteropd.containers import docker_host
from heteropd.errors import BadInput
from heteropd.images import bake, bundle_folder, recipe, site, sources
from heteropd.images import build as building
from heteropd.images.bake import BakeFile, Options
from heteropd.images.bundle_folder import WHEELS, Bundle, BundledBase, BundledImage
from heteropd.images.bundle_use import commits, locks
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Choice, Recipe
from heteropd.images.site import Site
from heteropd.prepare import pip_settings

_COLLECT = "docker/bundle/Dockerfile"


def run(
    choices: Sequence[Choice], context: BuildContext, *, to: str | None = None, base: str | None = None
) -> Path:
    """Collect a bundle; the folder. Raises BadInput, MissingPrerequisite and KitError."""
    recipes = [recipe.render(choice, context.env, context.root, {}, base=base) for choice in choices]
    if base is None:
        building.require_locked(recipes, Options())
    for made in recipes:
        _require_no_system_packages(made, context.root)
    folder = _emptied(Path(to or context.state / "bundle"))
    docker_host.require_buildx(context.runner, context.env.images.engine)
    with closing(docker_host.connect(context.env.images.engine)) as client:
        refs = sorted({ref for made in recipes for ref in (made.base, made.ship)})
        bases = {ref: _save(ref, folder, client, context) for ref in refs}
    with site.prepared(pip_settings.read(context.runner), context.environ) as here:
        building.run("bundle", _packages(choices, recipes, folder / WHEELS, here, context), context)
    images = {
        str(choice.image): _image(choice, made, folder, context)
        for choice, made in zip(choices, recipes, strict=True)
    }
    sums = {name: bundle_folder.sha256(path) for name, path in bundle_folder.files(folder)}
    bundle_folder.write(Bundle(base=base, images=images, bases=bases, files=sums), folder)
    return folder


def _require_no_system_packages(made: Recipe, root: Path) -> None:
    for file in sorted((root / made.dockerfile).parent.iterdir()):
        if file.is_file() and "apt-get" in file.read_text(encoding="utf-8", errors="replace"):
            fix = "bundle images that do not (cpu, router), or build this one where there is a network"
            where = str(file.relative_to(root))
            raise BadInput(where, None, None, "installs system packages, which a bundle does not hold", fix)


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
    targets = {}
    for choice, made in zip(choices, recipes, strict=True):
        torch = choice.pins.torch if isinstance(choice.pins, StandinPins) else None
        special = torch if torch and torch.lock in choice.locks() else None
        common = [lock for lock in locks(choice, context) if not special or lock != special.lock]
        args = {"BASE": made.base, "LOCKS": " ".join(common)}
        if special:
            args |= {"SPECIAL_LOCK": special.lock, "INDEX": special.index}
        target = bake.step(_COLLECT, "image", args, here, Options())
        targets[str(choice.image)] = {**target, "output": [f"type=local,dest={to}"]}
    return {"group": {"default": {"targets": list(targets)}}, "target": targets}


def _image(choice: Choice, made: Recipe, folder: Path, context: BuildContext) -> BundledImage:
    for name, tree in sources.prepare(choice, context).items():
        shutil.copytree(tree, folder / "sources" / choice.image / name, symlinks=True)
    return BundledImage(
        pins=choice.pins_name,
        variant=choice.variant_name,
        build=made.base,
        ship=made.ship,
        locks=locks(choice, context),
        sources=commits(choice),
    )
