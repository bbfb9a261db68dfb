"""`make build`: from words to built images, or to the bake file that would build them."""

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from heteropd.config.env import Env
from heteropd.config.images import IMAGE_NAMES, ImageName
from heteropd.console.findings import show_findings
from heteropd.containers import docker_host
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput
from heteropd.images import bake, bundle_folder, byhand, contents, imagetools, recipe, sources
from heteropd.images import build as building
from heteropd.images.bake import Options
from heteropd.images.bundle import recipes_from
from heteropd.images.byhand import ByHand
from heteropd.images.context import BuildContext, Site, site_of_bundle, site_of_machine
from heteropd.images.recipe import Choice, Recipe
from heteropd.prepare import pip_settings


@dataclass(frozen=True)
class BuildRequest:
    """What to build. ``base``: another base image than the pinned one; ``bundle``: where every input comes
    from; ``by_hand``: inputs that stand for pinned ones; ``print_only``: show the bake file."""

    choices: Sequence[Choice]
    base: str | None = None
    bundle: str | None = None
    by_hand: ByHand = field(default_factory=ByHand)
    options: Options = field(default_factory=Options)
    print_only: bool = False


def chosen(names: Sequence[str], pins: str | None, variant: str | None, env: Env) -> list[Choice]:
    """The images that are named. Raises BadInput for unknown ones and for none."""
    if not names:
        known = ", ".join(env.images.images)
        raise BadInput("command line", "image", None, "missing", f"name one or more of: {known}")
    return [recipe.choose(_image(name), pins, variant, env) for name in dict.fromkeys(names)]


def run(request: BuildRequest, context: BuildContext) -> int:
    """Build images, look into each and say where it is not what env/ says; 0, or 1 for one that differs.

    Raises BadInput, MissingPrerequisite and KitError; nothing is left running after any of them.
    """
    recipes = build(request, context)
    findings = contents.judge(recipes, context) if recipes else []
    show_findings(findings, context.console)
    return EXIT_FAILED if findings else EXIT_OK


def build(request: BuildRequest, context: BuildContext) -> list[Recipe]:
    """Build images side by side; what was built. With ``print_only``, show the bake file instead."""
    choices, given, base, bundle = request.choices, request.by_hand, request.base, request.bundle
    byhand.require_used(given, choices)
    options = replace(request.options, offline=request.options.offline or bundle is not None)
    if bundle is not None:
        byhand.require_none(given)
        if base is not None:
            raise BadInput("command line", "base", base, "a bundle brings its own base", "leave base= out")
        options = _require_engine(options, context)
        folder = Path(bundle).absolute()
        recipes = recipes_from(folder, choices, context)
        with site_of_bundle(folder / bundle_folder.WHEELS) as here:
            _bake(recipes, here, options, context)
        return recipes
    if base is None:  # one that is given by hand is not pinned anyway, and the image's label says so
        without = [recipe.render(choice, context.env, context.root, {}) for choice in choices]
        building.require_locked([byhand.still_open(made, given) for made in without], options)
    printing = request.print_only
    options = options if printing else _require_engine(options, context)
    recipes = []
    for choice in choices:
        by_hand = given.of(choice)
        folders = sources.prepare(choice, context, by_hand, unlocked=options.unlocked, fetch=not printing)
        made = recipe.render(choice, context.env, context.root, folders, base=base)
        recipes.append(byhand.applied(made, given, choice))
    with site_of_machine(pip_settings.read(context.runner), context.environ) as here:
        if not printing:
            _bake(recipes, here, options, context)
            return recipes
        # How the site reaches its registries is in a file that may hold a password and is gone after a build.
        shown = replace(here, secrets={name: file for name, file in here.secrets.items() if name != "site"})
        file = bake.render(recipes, context.env.images, shown, options)
        sys.stdout.write(json.dumps(file, indent=2) + "\n")
        return []


def _bake(recipes: Sequence[Recipe], here: Site, options: Options, context: BuildContext) -> None:
    images = context.env.images
    if options.attest:  # cached after the first time
        kept = replace(options, no_cache=False)
        building.run("sbom", bake.render_generator(recipes[0], images, here, kept), context)
    seconds = building.run("build", bake.render(recipes, images, here, options), context)
    context.say(f"built {', '.join(made.tag for made in recipes)} in {seconds:.1f} s")


def _require_engine(options: Options, context: BuildContext) -> Options:
    """The options for the engine that is there. Raises MissingPrerequisite where none can build."""
    needs = context.env.images.engine
    with closing(docker_host.connect(needs)) as client:
        attest = imagetools.keeps_attestations(client)
    docker_host.require_buildx(context.runner, needs)
    if not attest:
        context.say("this engine keeps no provenance and no SBOM: the images cannot be published from it")
    return replace(options, attest=attest)


def _image(name: str) -> ImageName:
    for known in IMAGE_NAMES:
        if name == known:
            return known
    raise BadInput("command line", "image", name, "no such image", f"one of {', '.join(IMAGE_NAMES)}")
