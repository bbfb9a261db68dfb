"""The bake file that `docker buildx bake` builds images from: the reviewable plan of a build. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heteropd.config.images import Images
from heteropd.images.recipe import Recipe
from heteropd.images.site import Site

SBOM_GENERATOR = "heteropd-sbom:local"
_COMMON = "docker/common/Dockerfile"

BakeFile = dict[str, Any]
Target = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """``cache``: where in a registry layers are kept for other machines; ``offline``: no network at all.

    ``attest``: the engine keeps what BuildKit testifies; it must be able to, or refuses the build.
    """

    unlocked: bool = False
    no_cache: bool = False
    offline: bool = False
    cache: str | None = None
    attest: bool = True


def render(recipes: Sequence[Recipe], images: Images, site: Site, options: Options) -> BakeFile:
    """One target for each image, and the targets of what they share: the same base has the same tools."""
    shared: dict[str, Target] = {}
    targets = {}
    for recipe in recipes:
        contexts = {"tools": _tools(recipe, images, site, options, shared)}
        contexts["programs"] = _programs(recipe, options, shared)
        targets[str(recipe.image)] = _image(recipe, images, site, options, contexts)
    return {"group": {"default": {"targets": list(targets)}}, "target": {**shared, **targets}}


def render_generator(recipe: Recipe, images: Images, site: Site, options: Options) -> BakeFile:
    """The image that lists what is in the others, on this recipe's base. It must be there before them."""
    shared: dict[str, Target] = {}
    contexts = {"tools": _tools(recipe, images, site, options, shared)}
    generator = {
        **step("docker/sbom/Dockerfile", "image", {"LOCK": images.sbom}, site, options),
        "output": [f"type=image,name={SBOM_GENERATOR}"],
    }
    generator["contexts"] = {**_targets(contexts), **generator.get("contexts", {})}
    return {"group": {"default": {"targets": ["sbom"]}}, "target": {**shared, "sbom": generator}}


def _tools(recipe: Recipe, images: Images, site: Site, options: Options, shared: dict[str, Target]) -> str:
    args = {"BASE": recipe.base, "SHIP": recipe.ship, "LOCK": images.tools}
    return _added(shared, "tools", recipe, step(_COMMON, "tools", args, site, options))


def _programs(recipe: Recipe, options: Options, shared: dict[str, Target]) -> str:
    stage = "programs" if recipe.root_user else "account"
    epoch = recipe.build_args["SOURCE_DATE_EPOCH"]
    args = {"BASE": recipe.base, "SHIP": recipe.ship, "SOURCE_DATE_EPOCH": epoch}
    return _added(shared, stage, recipe, step(_COMMON, stage, args, Site({}, None), options))


def _added(shared: dict[str, Target], kind: str, recipe: Recipe, target: Target) -> str:
    """The name of the shared target that is this one; added under the image's name where there is none."""
    for name, known in shared.items():
        if known == target:
            return name
    shared[f"{recipe.image}-{kind}"] = target
    return f"{recipe.image}-{kind}"


def step(dockerfile: str, stage: str, args: dict[str, str], site: Site, options: Options) -> Target:
    """A target that others build on. It leaves no image on the engine."""
    target: Target = {
        "context": ".",
        "dockerfile": dockerfile,
        "target": stage,
        "args": args,
        "output": ["type=cacheonly"],
        "attest": ["type=provenance,disabled=true"],
        "secret": [f"id={name},src={file}" for name, file in sorted(site.secrets.items())],
    }
    if site.wheels:
        target["contexts"] = {"wheels": str(site.wheels)}
    if options.no_cache:
        target["no-cache"] = True
    if options.offline:
        target["network"] = "none"
    return target


def _image(recipe: Recipe, images: Images, site: Site, options: Options, contexts: dict[str, str]) -> Target:
    args = {"SHIP": recipe.ship, **recipe.build_args}
    target = step(recipe.dockerfile, "image", args, site, options)
    given = dict(sorted(recipe.contexts.items()))
    target["contexts"] = {**_targets(contexts), **target.get("contexts", {}), **given}
    target["labels"] = recipe.labels
    # OCI's media types: Docker's own have no zstd, and an engine could not pull what was pushed.
    target["output"] = [f"type=image,name={recipe.tag},compression={images.compression},oci-mediatypes=true"]
    if options.attest:
        target["attest"] = ["type=provenance,mode=max", f"type=sbom,generator={SBOM_GENERATOR}"]
    if options.cache:
        target["cache-from"] = [f"type=registry,ref={options.cache}/{recipe.image}"]
        target["cache-to"] = [f"type=registry,ref={options.cache}/{recipe.image},mode=max"]
    return target


def _targets(contexts: dict[str, str]) -> dict[str, str]:
    return {name: f"target:{target}" for name, target in contexts.items()}
