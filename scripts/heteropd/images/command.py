"""`nox -s build`: from words to built images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from heteropd.cli import Words
from heteropd.errors import BadInput
from heteropd.images import build as building
from heteropd.images import engine, recipe, site, sources
from heteropd.images.recipe import Choice, Recipe
from heteropd.prepare import pip_settings
from heteropd.seams import LocalRunner, Runner, SystemClock
from heteropd.spec import env as spec
from heteropd.spec.env import Env
from heteropd.spec.images import IMAGE_NAMES, ImageName
from heteropd.spec.pins import StandinPins
from heteropd.topology.progress import Progress

HEARTBEAT_S = 20.0
_FLAGS = ("unlocked", "no_cache", "offline")
_OPTIONS = ("pins", "variant", "base", "cache", "images")


def chosen(names: list[str], options: dict[str, str], env: Env) -> list[Choice]:
    """The images that words name. Raises BadInput for unknown ones and for none."""
    given = [*names, *options.get("images", "").replace(",", " ").split()]
    if not given:
        known = ", ".join(env.images.images)
        raise BadInput("command line", "image", None, "missing", f"name one or more of: {known}")
    unknown = [name for name in given if "=" in name]
    if unknown:
        raise BadInput(
            "command line", unknown[0], "", "is not understood here", f"known: {', '.join(_OPTIONS)}"
        )
    pins, variant = options.get("pins"), options.get("variant")
    return [recipe.choose(_image(name), pins, variant, env) for name in dict.fromkeys(given)]


def build(words: list[str], root: Path, console: Console) -> list[building.Built]:
    """Build images side by side, then read what is in each and compare it with its lock.

    Raises BadInput, MissingPrerequisite and KitError; nothing is left running after any of them.
    """
    parsed = Words(
        [word.replace("-", "_") if word.startswith("--no-") else word for word in words], _FLAGS, _OPTIONS
    )
    env = spec.load(root)
    choices = chosen(parsed.rest, parsed.options, env)
    options = building.Options(
        **{flag: flag in parsed.flags for flag in _FLAGS}, cache=parsed.options.get("cache")
    )
    runner = LocalRunner()
    engine.connect(env.images.engine).close()
    engine.require_buildx(runner, env.images.engine)
    base = parsed.options.get("base")
    drafts = [recipe.render(choice, env, root, {}, base=base) for choice in choices]
    building.require_locked([one for one in drafts if base is None], options)
    recipes = [_recipe(choice, env, root, runner, console, base=base) for choice in choices]
    return _run(recipes, env, root, runner, console, options)


def _recipe(
    choice: Choice, env: Env, root: Path, runner: Runner, console: Console, *, base: str | None
) -> Recipe:
    prepared = sources.prepare(choice, runner, lambda text: console.print(text, soft_wrap=True))
    made = recipe.render(choice, env, root, prepared, base=base)
    if isinstance(choice.pins, StandinPins):
        made = replace(made, build_args={**made.build_args, "TORCH_INDEX": choice.pins.torch.index})
    return made


def _run(
    recipes: list[Recipe], env: Env, root: Path, runner: Runner, console: Console, options: building.Options
) -> list[building.Built]:
    clock = SystemClock()
    builds = building.Builds(root, root / ".heteropd" / "logs", runner, clock)
    with site.prepared(pip_settings.read(runner)) as here, Progress(console, HEARTBEAT_S) as progress:
        commands = {str(one.image): building.argv(one, env.images, here, options) for one in recipes}
        seconds = builds.run(commands, dict(os.environ), progress)
    return [building.Built(one, seconds[one.image]) for one in recipes]


def _image(name: str) -> ImageName:
    for known in IMAGE_NAMES:
        if name == known:
            return known
    raise BadInput("command line", "image", name, "no such image", f"one of {', '.join(IMAGE_NAMES)}")
