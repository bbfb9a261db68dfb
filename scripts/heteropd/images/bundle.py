"""`make bundle`: every input of images in one folder, from which they build without a network."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from docker import DockerClient
from docker.errors import ImageNotFound

from heteropd.config import mirrors
from heteropd.config.arguments import Arguments
from heteropd.config.pins import StandinPins
from heteropd.console.progress import Progress
from heteropd.containers import docker_host
from heteropd.errors import BadInput
from heteropd.images import build as building
from heteropd.images import bundle_folder, command, recipe, site, sources
from heteropd.images.bundle_folder import WHEELS, Bundle, BundledBase, BundledImage
from heteropd.images.bundle_use import commits, locks
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Choice, Recipe
from heteropd.images.site import Site
from heteropd.prepare import pip_settings

_COLLECT = "docker/programs/collect.Dockerfile"
_OPTIONS = ("to", "pins", "variant", "base", "images")


def run(words: list[str], shop: BuildContext) -> Path:
    """Collect a bundle; the folder. Raises BadInput, MissingPrerequisite and KitError."""
    parsed = Arguments(words, (), _OPTIONS)
    choices = command.chosen(parsed.rest, parsed.options, shop.env)
    base = parsed.options.get("base")
    recipes = [recipe.render(one, shop.env, shop.root, {}, base=base) for one in choices]
    if base is None:
        building.require_locked(recipes, building.Options())
    for one in recipes:
        _require_no_system_packages(one, shop.root)
    folder = _emptied(Path(parsed.options.get("to", shop.root / ".heteropd" / "bundle")))
    docker_host.require_buildx(shop.runner, shop.env.images.engine)
    client = docker_host.connect(shop.env.images.engine)
    try:
        refs = sorted({one.build_args[key] for one in recipes for key in ("BASE", "SHIP")})
        bases = {ref: _save(ref, folder, client, shop) for ref in refs}
    finally:
        client.close()
    _packages(choices, recipes, folder, shop)
    images = {
        str(choice.image): _image(choice, made, folder, shop)
        for choice, made in zip(choices, recipes, strict=True)
    }
    sums = {name: bundle_folder.sha256(path) for name, path in bundle_folder.files(folder)}
    bundle_folder.write(Bundle(base=base, images=images, bases=bases, files=sums), folder)
    return folder


def _require_no_system_packages(one: Recipe, root: Path) -> None:
    for file in sorted((root / one.dockerfile).parent.iterdir()):
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


def _save(ref: str, folder: Path, client: DockerClient, shop: BuildContext) -> BundledBase:
    """The image as an archive, under a tag of its own: a name with a digest does not survive archiving."""
    key = hashlib.sha256(ref.encode()).hexdigest()[:12]
    base = BundledBase(archive=f"bases/{key}.tar", tag=f"heteropd-bundle:{key}")
    shop.say(f"collecting {ref}")
    with docker_host.reported(ref):
        try:
            image = client.images.get(ref)
        except ImageNotFound:
            image = client.images.pull(mirrors.load(shop.root, shop.environ).image(ref))
        image.tag(base.tag)
        (folder / "bases").mkdir(exist_ok=True)
        with (folder / base.archive).open("wb") as stream:
            for chunk in client.api.get_image(base.tag):
                stream.write(chunk)
        client.images.remove(base.tag)
    return base


def _packages(choices: Sequence[Choice], recipes: Sequence[Recipe], folder: Path, shop: BuildContext) -> None:
    builds = building.Builds(shop.root, shop.logs, shop.runner, shop.clock)
    with (
        site.prepared(pip_settings.read(shop.runner)) as here,
        Progress(shop.console, command.HEARTBEAT_S) as progress,
    ):
        commands = {
            f"packages-{choice.image}": _argv(choice, made, folder / WHEELS, here)
            for choice, made in zip(choices, recipes, strict=True)
        }
        builds.run(commands, shop.environ, progress)


def _argv(choice: Choice, made: Recipe, to: Path, here: Site) -> list[str]:
    special = choice.pins.torch if isinstance(choice.pins, StandinPins) else None
    common = [lock for lock in choice.locks() if not special or lock != special.lock]
    args = {"BASE": made.build_args["BASE"], "LOCKS": " ".join(common)}
    if special and special.lock in choice.locks():
        args |= {"SPECIAL_LOCK": special.lock, "INDEX": special.index}
    words = ["docker", "buildx", "build", "--progress=plain", "--file", _COLLECT, "--target", "image"]
    words += ["--output", f"type=local,dest={to}"]
    words += ["--build-context", f"wheels={here.wheels}"] if here.wheels else []
    for name, value in args.items():
        words += ["--build-arg", f"{name}={value}"]
    for name, file in sorted(here.secrets.items()):
        words += ["--secret", f"id={name},src={file}"]
    return [*words, "."]


def _image(choice: Choice, made: Recipe, folder: Path, shop: BuildContext) -> BundledImage:
    for name, tree in sources.prepare(choice, shop).items():
        shutil.copytree(tree, folder / "sources" / choice.image / name, symlinks=True)
    return BundledImage(
        pins=choice.pins_name,
        variant=choice.variant_name,
        build=made.build_args["BASE"],
        ship=made.build_args["SHIP"],
        locks=locks(choice, shop.root),
        sources=commits(choice),
    )
