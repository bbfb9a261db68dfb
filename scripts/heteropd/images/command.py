"""`make build`: from words to built images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from heteropd.config.arguments import Arguments
from heteropd.config.env import Env
from heteropd.config.images import IMAGE_NAMES, ImageName
from heteropd.config.pins import StandinPins
from heteropd.console.progress import Progress
from heteropd.containers import docker_host
from heteropd.errors import BadInput
from heteropd.images import build as building
from heteropd.images import bundle_folder, bundle_use, byhand, recipe, site, sources
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Choice, Recipe
from heteropd.prepare import pip_settings

HEARTBEAT_S = 20.0
_FLAGS = ("unlocked", "no_cache", "offline")
_OPTIONS = ("pins", "variant", "base", "cache", "images", "bundle")


def chosen(names: list[str], options: dict[str, str], env: Env) -> list[Choice]:
    """The images that words name. Raises BadInput for unknown ones and for none."""
    given = [*names, *options.get("images", "").replace(",", " ").split()]
    if not given:
        known = ", ".join(env.images.images)
        raise BadInput("command line", "image", None, "missing", f"name one or more of: {known}")
    for name in given:
        if "=" in name:
            fix = f"known: {', '.join([*_OPTIONS, *_FLAGS])}"
            raise BadInput("command line", name.partition("=")[0], None, "unknown parameter", fix)
    pins, variant = options.get("pins"), options.get("variant")
    return [recipe.choose(_image(name), pins, variant, env) for name in dict.fromkeys(given)]


def build(words: list[str], shop: BuildContext) -> list[building.Built]:
    """Build images side by side.

    Raises BadInput, MissingPrerequisite and KitError; nothing is left running after any of them.
    """
    given, words = byhand.taken(words, shop.root)
    parsed = Arguments(words, _FLAGS, _OPTIONS)
    choices = chosen(parsed.rest, parsed.options, shop.env)
    byhand.require_used(given, choices)
    base = parsed.options.get("base")
    options = building.Options(
        unlocked="unlocked" in parsed.flags,
        no_cache="no_cache" in parsed.flags,
        offline="offline" in parsed.flags,
        cache=parsed.options.get("cache"),
    )
    if "bundle" in parsed.options:
        byhand.require_none(given)
        return _from_bundle(Path(parsed.options["bundle"]).absolute(), choices, base, options, shop)
    if base is None:  # one that is given by hand is not pinned anyway, and the image's label says so
        seen = [recipe.render(one, shop.env, shop.root, {}) for one in choices]
        building.require_locked([byhand.still_open(one, given) for one in seen], options)
    docker_host.connect(shop.env.images.engine).close()
    docker_host.require_buildx(shop.runner, shop.env.images.engine)
    folders = {
        one.image: sources.prepare(one, shop, given.of(one), unlocked=options.unlocked) for one in choices
    }
    recipes = [_prepared(one, base, folders[one.image], shop) for one in choices]
    made = [byhand.applied(one, given, choice) for one, choice in zip(recipes, choices, strict=True)]
    return run(made, shop, options)


def run(
    recipes: list[Recipe], shop: BuildContext, options: building.Options, wheels: Path | None = None
) -> list[building.Built]:
    """Build what the recipes say, side by side, with progress. ``wheels``: a bundle's, and nothing else."""
    builds = building.Builds(shop.root, shop.logs, shop.runner, shop.clock)
    with (
        site.bundled(wheels) if wheels else site.prepared(pip_settings.read(shop.runner)) as here,
        Progress(shop.console, HEARTBEAT_S) as progress,
    ):
        commands = {str(one.image): building.argv(one, shop.env.images, here, options) for one in recipes}
        seconds = builds.run(commands, shop.environ, progress)
    return [building.Built(one, seconds[one.image]) for one in recipes]


def _from_bundle(
    folder: Path, choices: list[Choice], base: str | None, options: building.Options, shop: BuildContext
) -> list[building.Built]:
    if base is not None:
        raise BadInput("command line", "base", base, "a bundle brings its own base", "leave base= out")
    docker_host.require_buildx(shop.runner, shop.env.images.engine)
    recipes = bundle_use.recipes_from(folder, choices, shop)
    return run(recipes, shop, replace(options, offline=True), folder / bundle_folder.WHEELS)


def _prepared(choice: Choice, base: str | None, folders: dict[str, Path], shop: BuildContext) -> Recipe:
    made = recipe.render(choice, shop.env, shop.root, folders, base=base)
    if isinstance(choice.pins, StandinPins):
        made = replace(made, build_args={**made.build_args, "TORCH_INDEX": choice.pins.torch.index})
    return made


def _image(name: str) -> ImageName:
    for known in IMAGE_NAMES:
        if name == known:
            return known
    raise BadInput("command line", "image", name, "no such image", f"one of {', '.join(IMAGE_NAMES)}")
