"""The bake file that `docker buildx bake` builds images from: the reviewable plan of a build. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heteropd.config.images import Images
from heteropd.images.context import Site
from heteropd.images.recipe import Recipe

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
        stages = _stages(recipe, images, site, options, shared)
        targets[str(recipe.image)] = _image(recipe, images, site, options, stages)
    return bake_file(list(targets), {**shared, **targets})


def render_generator(recipe: Recipe, images: Images, site: Site, options: Options) -> BakeFile:
    """The image that lists what is in the others, on this recipe's base. It must be there before them."""
    shared: dict[str, Target] = {}
    tools = _stages(recipe, images, site, options, shared)["tools"]
    generator = step("docker/sbom/Dockerfile", "image", {"LOCK": images.sbom}, site, options)
    generator["output"] = [f"type=image,name={SBOM_GENERATOR}"]
    generator["contexts"] = {"tools": tools, **generator.get("contexts", {})}
    needed = {name: target for name, target in shared.items() if tools == f"target:{name}"}
    return bake_file(["sbom"], {**needed, "sbom": generator})


def bake_file(default: list[str], targets: dict[str, Target]) -> BakeFile:
    """The file, with the targets that are built when none is named."""
    return {"group": {"default": {"targets": default}}, "target": targets}


def _stages(
    recipe: Recipe, images: Images, site: Site, options: Options, shared: dict[str, Target]
) -> dict[str, str]:
    """The contexts of docker/common that an image is built with; their targets are added to ``shared``."""
    bases = {"BASE": recipe.base, "SHIP": recipe.ship}
    epoch = {"SOURCE_DATE_EPOCH": recipe.build_args["SOURCE_DATE_EPOCH"]}
    programs = "programs" if recipe.root_user else "account"
    stages = {
        "tools": step(_COMMON, "tools", {**bases, "LOCK": images.tools}, site, options),
        "programs": step(_COMMON, programs, {**bases, **epoch}, Site({}, None), options),
    }
    if recipe.system_packages:
        authorities = Site({name: file for name, file in site.secrets.items() if name == "ca"}, None)
        stages["system"] = step(_COMMON, "system", bases, authorities, options)
    contexts = dict(recipe.ready)
    for name, stage in stages.items():
        if name not in contexts:
            contexts[name] = f"target:{_added(shared, recipe, stage)}"
    return contexts


def _added(shared: dict[str, Target], recipe: Recipe, target: Target) -> str:
    """The name of the shared target that is this one; added under the image's name where there is none."""
    for name, known in shared.items():
        if known == target:
            return name
    name = f"{recipe.image}-{target['target']}"
    shared[name] = target
    return name


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
    args = recipe.build_args if recipe.system_packages else {"SHIP": recipe.ship, **recipe.build_args}
    target = step(recipe.dockerfile, "image", args, site, options)
    target["contexts"] = {**contexts, **target.get("contexts", {}), **dict(sorted(recipe.contexts.items()))}
    target["labels"] = recipe.labels
    # OCI's media types: Docker's own have no zstd, and an engine could not pull what was pushed.
    target["output"] = [f"type=image,name={recipe.tag},compression={images.compression},oci-mediatypes=true"]
    if options.attest:
        target["attest"] = ["type=provenance,mode=max", f"type=sbom,generator={SBOM_GENERATOR}"]
    if options.cache:
        target["cache-from"] = [f"type=registry,ref={options.cache}/{recipe.image}"]
        target["cache-to"] = [f"type=registry,ref={options.cache}/{recipe.image},mode=max"]
    return target
