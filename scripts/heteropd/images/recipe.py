"""What decides an image, as plain data. Pure: nothing is fetched or started."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heteropd.config.env import Env, pick
from heteropd.config.images import Image, ImageName
from heteropd.config.lock import open_inputs
from heteropd.config.pins import (
    BuildBase,
    ImagePart,
    Package,
    Part,
    PartName,
    Pins,
    PinSet,
    SitePart,
    Source,
    StandinPins,
    TreePart,
    Variant,
)
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
    def parts(self) -> Mapping[PartName, Part]:
        """What the pin set puts the image together from."""
        return {**self.pins.parts.get(self.image, {}), **self.variant.parts.get(self.image, {})}

    @property
    def sources(self) -> list[str]:
        """Keys of the pin set's sources that are built into the image."""
        optional = [name for name in self.spec.optional_sources if name in self._known_sources]
        return list(dict.fromkeys([*self.spec.sources, *optional, *self.trees]))

    @property
    def pinned_sources(self) -> dict[str, Source]:
        """Those sources as the pin set has them: none in a pin set without any."""
        return {name: self._known_sources[name] for name in self.sources if self._known_sources}

    @property
    def _known_sources(self) -> Mapping[str, Source]:
        return self.pins.sources if isinstance(self.pins, PinSet) else {}

    @property
    def trees(self) -> list[str]:
        """Those of them whose Python files become a part."""
        return [part.tree for part in self.parts.values() if isinstance(part, TreePart)]

    @property
    def vllm(self) -> str:
        """The vLLM in it, for people: the package's version and, under other Python files, their commit."""
        package, overlay = self.parts.get("vllm"), self.parts.get("vllm-python")
        if not isinstance(package, Package):
            return self.pins.vllm
        if not isinstance(overlay, TreePart):
            return package.version
        return f"{package.version} binaries, {self._known_sources[overlay.tree].commit[:8]} Python"

    def locks(self) -> list[str]:
        """Hashed requirements that it installs, relative to the repository."""
        return [lock.format(pins=self.pins_name) for lock in self.spec.locks]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides an image.

    ``base`` is what it is built on, ``ship`` what it ships on; ``build_args`` are for its own Dockerfile;
    ``contexts`` are named build contexts: a folder each, or ``docker-image://REF``; ``ready`` are those of
    docker/common that need not be built, for a bundle has them.
    """

    image: ImageName
    tag: str
    base: str
    ship: str
    root_user: bool
    system_packages: bool
    build_args: dict[str, str]
    contexts: dict[str, str]
    labels: dict[str, str]
    unresolved: tuple[Unresolved, ...]
    ready: dict[str, str] = field(default_factory=dict)

    @property
    def dockerfile(self) -> str:
        return f"docker/{self.image}/Dockerfile"


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
    fields = [f"images.{choice.image}.", f"parts.{choice.image}."]
    fields += [f"sources.{name}." for name in choice.sources]
    for index, commit in enumerate(choice.variant.picks):
        if commit.source in choice.sources:
            fields.append(f"variants.{choice.variant_name}.picks.{index}.")
    for value in open_inputs(choice.pins):
        if value.field.startswith(tuple(fields)):
            yield Unresolved(f"{where}: {value.field}", value.resolve)
    for name, part in choice.parts.items():
        if isinstance(part, SitePart):
            field = f"{where}: parts.{choice.image}.{name} ({part.by_hand})"
            yield Unresolved(field, f"part.{name}=FOLDER or image://REF@sha256:…:/path")


def render(
    choice: Choice, env: Env, root: Path, sources: Mapping[str, Path], *, base: str | None = None
) -> Recipe:
    """The recipe. ``sources``: a prepared folder for each of ``choice.sources``; ``base``: an image by hand.

    A base by hand is not what the pin set says: the image is then labelled as not locked.
    """
    still_open = list(unresolved(choice))
    missing = [lock for lock in choice.locks() if not (root / lock).is_file()]
    fix = f"lock=FILE, or make lock pins={choice.pins_name}"
    still_open += [Unresolved(f"{lock}: the file", fix) for lock in missing]
    if base is not None:
        still_open.append(Unresolved("command line: base", "leave base= out"))
    ship = base or choice.base.shipped.pinned
    args = {"SOURCE_DATE_EPOCH": str(env.images.epoch), "LOCK": choice.locks()[0]}
    if isinstance(choice.pins, StandinPins) and choice.pins.torch.lock in choice.locks():
        args |= {"TORCH_LOCK": choice.pins.torch.lock, "TORCH_INDEX": choice.pins.torch.index}
    whole = (*choice.spec.sources, *choice.spec.optional_sources)
    contexts = {name: str(folder) for name, folder in sources.items() if name in whole}
    labels = _labels(choice, ship, _inputs(choice, root), still_open)
    for name, part in choice.parts.items():
        if isinstance(part, TreePart) and part.tree in sources:
            contexts[f"{name}-tree"] = str(sources[part.tree])
            if name == "vllm-gaudi":
                source = choice.pinned_sources[part.tree]
                args["VLLM_GAUDI_VERSION"] = source.version or f"0+g{source.commit[:9]}"
                args["VLLM_GAUDI_COMMIT"] = source.commit
        elif isinstance(part, ImagePart):
            add, paths = part_context(name, f"docker-image://{part.pinned}", part.path)
            contexts |= add
            args |= paths
            labels[f"{LABEL}.part.{name}"] = f"{part.pinned}:{part.path}"
    return Recipe(
        image=choice.image,
        tag=tag(choice, env),
        base=base or choice.base.pinned,
        ship=ship,
        root_user=choice.spec.uid == 0,
        system_packages=choice.spec.system_packages,
        build_args=args,
        contexts=contexts,
        labels=labels,
        unresolved=tuple(still_open),
    )


def part_context(name: str, context: str, path: str) -> tuple[dict[str, str], dict[str, str]]:
    """The named context and the build argument that give a part to a Dockerfile."""
    return {f"{name}-part": context}, {f"{name.upper()}_PATH": path} if path else {}


def lock_labels(still_open: Sequence[Unresolved]) -> dict[str, str]:
    """The labels that say whether every input was pinned, and which were not."""
    if not still_open:
        return {f"{LABEL}.locked": "true"}
    return {f"{LABEL}.locked": "false", f"{LABEL}.unlocked": ", ".join(value.where for value in still_open)}


def _labels(choice: Choice, ship: str, inputs: str, still_open: list[Unresolved]) -> dict[str, str]:
    labels = {
        "org.opencontainers.image.title": f"heteropd {choice.image}: {choice.pins.title}",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.base.name": choice.base.shipped.ref,
        "org.opencontainers.image.base.digest": choice.base.shipped.digest,
        f"{LABEL}.base": ship,
        f"{LABEL}.image": choice.image,
        f"{LABEL}.pins": choice.pins_name,
        f"{LABEL}.variant": choice.variant_name,
        f"{LABEL}.vllm": choice.vllm,
        f"{LABEL}.inputs": inputs,
        **lock_labels(still_open),
    }
    if choice.image == "gaudi":  # which only a UCX of one's own can have
        labels[f"{LABEL}.gaudi_gdr"] = "true" if "ucx" in choice.parts else "false"
    for name, source in choice.pinned_sources.items():
        labels[f"{LABEL}.source.{name}"] = source.commit
    picks = [commit.commit for commit in choice.variant.picks if commit.source in choice.sources]
    if picks:
        labels[f"{LABEL}.picks"] = " ".join(picks)
    return labels


def _inputs(choice: Choice, root: Path) -> str:
    """SHA-256 over what the image is made from: its pins, locks, Dockerfile and the files that it copies."""
    digest = hashlib.sha256()
    pinned = {
        "pins": choice.pins_name,
        "variant": choice.variant.model_dump(mode="json"),
        "base": choice.base.model_dump(mode="json"),
        "parts": {name: part.model_dump(mode="json") for name, part in choice.parts.items()},
        "sources": {name: source.model_dump(mode="json") for name, source in choice.pinned_sources.items()},
    }
    digest.update(json.dumps(pinned, sort_keys=True).encode())
    present = [lock for lock in choice.locks() if (root / lock).is_file()]
    for name in sorted([*present, *_copied(choice, root)]):
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
