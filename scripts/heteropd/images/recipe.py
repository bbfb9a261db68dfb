"""What `docker buildx build` is told for one image, as plain data. Pure: nothing is fetched or started."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from heteropd.config.env import Env, pick
from heteropd.config.images import Image, ImageName
from heteropd.config.pins import BuildBase, Pins, PinSet, Variant
from heteropd.config.types import UNRESOLVED
from heteropd.plan.template import fill
from heteropd.prepare.environments import ENGINE_PROJECT

LABEL = "io.heteropd"
# What Python and setuptools leave in a folder, which no build sees (.dockerignore).
_MADE = re.compile(r"__pycache__|build|.*\.egg-info")


@dataclass(frozen=True)
class Unresolved:
    """An input that is not pinned: where it stands, and the command that resolves it."""

    where: str
    resolve: str


@dataclass(frozen=True)
class Choice:
    """One image of one pin set and variant, looked up in env/."""

    image: ImageName
    pins_name: str
    variant_name: str
    spec: Image
    pins: Pins
    variant: Variant
    base: BuildBase

    @property
    def sources(self) -> list[str]:
        """Keys of the pin set's sources that are built into the image."""
        known = self.pins.sources if isinstance(self.pins, PinSet) else {}
        return [*self.spec.sources, *(name for name in self.spec.optional_sources if name in known)]

    def locks(self) -> list[str]:
        """Hashed requirements that it installs, relative to the repository."""
        return [lock.format(pins=self.pins_name) for lock in self.spec.locks]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides an image. ``contexts`` are named build contexts: a folder each."""

    image: ImageName
    tag: str
    dockerfile: str
    build_args: dict[str, str]
    contexts: dict[str, Path]
    labels: dict[str, str]
    unresolved: tuple[Unresolved, ...]


def choose(image: ImageName, pins_name: str | None, variant_name: str | None, env: Env) -> Choice:
    """Look the image up. Raises BadInput for names that lead nowhere."""
    spec = pick("image", image, env.images.images)
    pins_name = pins_name or spec.pins
    pins = pick("pins", pins_name, env.pins)
    variant_name = variant_name or next(iter(pins.variants))
    variant = pick("variant", variant_name, pins.variants)
    base = pick("base image", image, pins.images, f"env/pins/{pins_name}.yaml")
    return Choice(image, pins_name, variant_name, spec, pins, variant, base)


def tag(choice: Choice, env: Env) -> str:
    """The name that plans give to the image."""
    fields = {"platform": choice.image, "pins": choice.pins_name, "variant": choice.variant_name}
    return fill(env.defaults.containers.image, fields, "env/defaults.yaml")


def unresolved(choice: Choice) -> Iterator[Unresolved]:
    """Inputs of this image that its pin set leaves open."""
    where = f"env/pins/{choice.pins_name}.yaml"
    for key, base in {"": choice.base, ".ships_on": choice.base.shipped}.items():
        if base.digest == UNRESOLVED:
            yield Unresolved(f"{where}: images.{choice.image}{key}.digest", base.resolve or "")
    if isinstance(choice.pins, PinSet):
        for name in choice.sources:
            source = choice.pins.sources[name]
            if source.commit == UNRESOLVED:
                yield Unresolved(f"{where}: sources.{name}.commit", source.resolve or "")
    for index, one in enumerate(choice.variant.picks):
        if one.source in choice.sources and one.commit == UNRESOLVED:
            field = f"variants.{choice.variant_name}.picks.{index}.commit"
            yield Unresolved(f"{where}: {field}", one.resolve or "")


def render(
    choice: Choice,
    env: Env,
    root: Path,
    sources: Mapping[str, Path],
    *,
    base: str | None = None,
) -> Recipe:
    """The recipe. ``sources``: a prepared folder for each of ``choice.sources``; ``base``: an image by hand.

    A base by hand is not what the pin set says: the image is then labelled as not locked.
    """
    left = list(unresolved(choice))
    where = f"env/images.yaml: images.{choice.image}.parts"
    left += [Unresolved(f"{where}.{part}", f"part.{part}=FOLDER") for part in choice.spec.parts]
    missing = [one for one in choice.locks() if not (root / one).is_file()]
    left += [Unresolved(f"{one}: the file", "lock=FILE") for one in missing]
    if base is not None:
        left.append(Unresolved("command line: base", "leave base= out"))
    names = {"BASE": base or choice.base.pinned, "SHIP": base or choice.base.shipped.pinned}
    inputs = _inputs(choice, root)
    args = {
        **names,
        "SOURCE_DATE_EPOCH": str(env.images.epoch),
        **{f"LOCK_{index}": lock for index, lock in enumerate(choice.locks())},
        **_versions(choice),
    }
    return Recipe(
        image=choice.image,
        tag=tag(choice, env),
        dockerfile=f"docker/{choice.image}/Dockerfile",
        build_args=args,
        contexts=dict(sources),
        labels=_labels(choice, names["SHIP"], inputs, left),
        unresolved=tuple(left),
    )


def _labels(choice: Choice, base: str, inputs: str, left: list[Unresolved]) -> dict[str, str]:
    labels = {
        "org.opencontainers.image.title": f"heteropd {choice.image}: {choice.pins.title}",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.base.name": choice.base.shipped.ref,
        "org.opencontainers.image.base.digest": choice.base.shipped.digest,
        f"{LABEL}.base": base,
        f"{LABEL}.image": choice.image,
        f"{LABEL}.pins": choice.pins_name,
        f"{LABEL}.variant": choice.variant_name,
        f"{LABEL}.vllm": choice.pins.vllm,
        f"{LABEL}.inputs": inputs,
        f"{LABEL}.locked": "false" if left else "true",
    }
    if left:
        labels[f"{LABEL}.unlocked"] = ", ".join(one.where for one in left)
    if isinstance(choice.pins, PinSet):
        for name in choice.sources:
            labels[f"{LABEL}.source.{name}"] = choice.pins.sources[name].commit
    picks = [one.commit for one in choice.variant.picks if one.source in choice.sources]
    if picks:
        labels[f"{LABEL}.picks"] = " ".join(picks)
    return labels


def _versions(choice: Choice) -> dict[str, str]:
    """Build arguments that say what the pin set says, for images that are built from sources."""
    if not isinstance(choice.pins, PinSet):
        return {}
    found = {}
    for name in choice.sources:
        source = choice.pins.sources[name]
        key = name.replace("-", "_").upper()
        found[f"{key}_COMMIT"] = source.commit
        if source.version:
            found[f"{key}_VERSION"] = source.version
    nixl = choice.pins.nixl.get(choice.image) if choice.image != "router" else None
    if nixl is not None:
        found["UCX_FLAGS"] = " ".join(nixl.build_flags)
    found["VLLM_VERSION"] = choice.pins.vllm
    return found


def _inputs(choice: Choice, root: Path) -> str:
    """SHA-256 over what the image is made from: its pins, locks, Dockerfile and the files that it copies."""
    digest = hashlib.sha256()
    pinned = {
        "pins": choice.pins_name,
        "variant": choice.variant.model_dump(mode="json"),
        "base": choice.base.model_dump(mode="json"),
        "sources": {
            name: choice.pins.sources[name].model_dump(mode="json")
            for name in choice.sources
            if isinstance(choice.pins, PinSet)
        },
    }
    digest.update(json.dumps(pinned, sort_keys=True).encode())
    for name in sorted([*(one for one in choice.locks() if (root / one).is_file()), *_copied(choice, root)]):
        digest.update(name.encode())
        digest.update((root / name).read_bytes())
    return f"sha256:{digest.hexdigest()}"


def _copied(choice: Choice, root: Path) -> list[str]:
    folders = ["docker/common", "docker/programs", f"docker/{choice.image}"]
    folders += [ENGINE_PROJECT] if choice.image == "cpu" else []
    return [
        str(path.relative_to(root))
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and not any(_MADE.fullmatch(part) for part in path.parts)
    ]
