"""A pin set: every external input of an environment, immutable, and what can be built from it.

What could not be resolved is written ``unresolved`` beside the command that resolves it, never guessed.
"""

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from heteropd.config.images import ImageName
from heteropd.config.types import (
    UNRESOLVED,
    Commit,
    Data,
    Digest,
    EngineRole,
    EnvName,
    GitRef,
    Name,
    PlatformName,
)

BUNDLED = "bundled"

VersionRange = Annotated[
    str | None, Field(description="What `make lock` may take for an unresolved version: '>=0.7,<2'")
]

Capability = Literal[
    "hetero_block",  # smaller HND blocks into larger HND blocks
    "hetero_block_nhd",  # the same, NHD to NHD
    "hetero_layout",  # HND into NHD, blocks of one size
    "hetero_block_and_layout",  # both at once
    "prefill_conversion",  # the prefill presents HND blocks of the agreed size
]


class _Resolvable(Data):
    pinned_by: ClassVar[str | None] = None
    """The field that may be unresolved where a command resolves it."""

    resolve: str | None = Field(default=None, description="Command that resolves or confirms the pin")
    note: str | None = Field(default=None, description="Where the pin comes from, and what is not certain")

    @model_validator(mode="after")
    def _has_command(self) -> Self:
        if self.pinned_by and getattr(self, self.pinned_by) == UNRESOLVED and not self.resolve:
            raise ValueError("is unresolved without a way to resolve it; add 'resolve:' with the command")
        return self


class BaseImage(_Resolvable):
    """An image of somebody else's, by tag for people and by digest for builds."""

    pinned_by: ClassVar[str | None] = "digest"
    ref: str = Field(min_length=1, description="Registry, repository and tag")
    digest: Digest

    @property
    def pinned(self) -> str:
        """What ``FROM`` takes: repository@digest, or the tag while the digest is unresolved."""
        if self.digest == UNRESOLVED:
            return self.ref
        name, colon, tag = self.ref.rpartition(":")
        return f"{name if colon and '/' not in tag else self.ref}@{self.digest}"


class BuildBase(BaseImage):
    """What an image is built on and, where that is another one (without compilers), what it ships on."""

    ships_on: BaseImage | None = None

    @property
    def shipped(self) -> BaseImage:
        return self.ships_on or self


PartName = Literal["vllm", "vllm-python", "vllm-gaudi", "nixl", "ucx"]


class ImagePart(BaseImage):
    """A folder of somebody else's published image: an installed prefix, or wheels."""

    path: str = Field(pattern=r"^/", description="The folder in the image")


class TreePart(Data):
    """Python files of a pinned tree, with the variant's commits on it. No build back-end of its is run."""

    tree: str = Field(description="Key of 'sources'")
    requires: list[str] = Field(default_factory=list, description="What it needs beside what vLLM needs")
    note: str | None = None


class SitePart(Data):
    """Installed software that nobody publishes: a build takes it as part.NAME=FOLDER or image://…"""

    by_hand: str = Field(min_length=1, description="What it must be")


class Source(_Resolvable):
    """A git tree. ``path`` names the part of it that is used, where it is not the whole."""

    pinned_by: ClassVar[str | None] = "commit"
    remote: str = Field(min_length=1)
    commit: Commit
    ref: GitRef | None = Field(default=None, description="What `make lock` asks for an unresolved commit")
    follows: GitRef | None = Field(
        default=None, description="Branch or tag whose moves `make lock check=1` reports"
    )
    version: str | None = Field(default=None, description="What the tree calls itself, where it says so")
    tree: Commit | None = Field(default=None, description="Git tree of the commit, checked where it is given")
    path: str | None = None


class Package(_Resolvable):
    """A package of a registry at one version. Hashes are in the lock files."""

    package: str = Field(min_length=1)
    version: str = Field(min_length=1)
    range: VersionRange = None


Part = Package | ImagePart | TreePart | SitePart


class Nixl(_Resolvable):
    """The NIXL of one platform: a package or a source tree, and the version peers see."""

    pinned_by: ClassVar[str | None] = "version"
    version: str = Field(pattern=r"^(\d+\.\d+\.\d+|unresolved)$")
    source: str | None = Field(default=None, description="Key of 'sources', where it is built")
    package: str | None = Field(default=None, description="Registry package, where it is installed")
    range: VersionRange = None
    ucx: str = Field(description=f"Key of 'sources', or {BUNDLED!r} in the package")
    build_flags: list[str] = Field(default_factory=list, description="UCX configure flags, where it is built")


class Pick(_Resolvable):
    """A commit to put on top of a source, or a branch head to take instead of it."""

    pinned_by: ClassVar[str | None] = "commit"
    source: str = Field(description="Key of 'sources'")
    commit: Commit
    ref: GitRef | None = Field(default=None, description="What `make lock` asks for an unresolved commit")
    action: Literal["cherry-pick", "checkout"] = "cherry-pick"
    prefer: Literal["theirs"] | None = Field(default=None, description="git's -X option")
    change: str = Field(description="The pull request it comes from")


class Variant(Data):
    """A named state of the sources: the pins, then these commits in this order, and what it can do."""

    title: str
    picks: list[Pick] = Field(default_factory=list)
    trees: dict[str, Commit] = Field(
        default_factory=dict, description="Expected git tree of a source after the picks"
    )
    parts: dict[ImageName, dict[PartName, Part]] = Field(
        default_factory=dict, description="Of its images, over the pin set's"
    )
    capabilities: list[Capability]
    kv_buffer_device: Literal["cpu"] | None = Field(
        default=None, description="Of both sides, where KV goes through hosts' memory; else the platform's"
    )
    note: str | None = None

    @property
    def unresolved(self) -> list[Pick]:
        return [pick for pick in self.picks if pick.commit == UNRESOLVED]


class Addition(Data):
    """Environment that this generation of software needs on top of the platform's own."""

    platform: PlatformName | None = Field(default=None, description="Only on this platform")
    role: EngineRole | None = Field(default=None, description="Only on this role")
    variant: Name | None = Field(default=None, description="Only of this variant")
    env: dict[EnvName, str]
    why: str


class Switches(Data):
    """Switches of the Gaudi plugin that must be on in this generation (rules P25 and P26)."""

    hetero_layout: bool = Field(default=False, description="VLLM_HPU_HETERO_KV_LAYOUT must be 'true'")
    joint_kv: bool = Field(default=False, description="VLLM_HPU_NIXL_JOINT_KV must be 'true' to a GPU decode")


class Pins(Data):
    """What a plan needs to know about any pin set."""

    title: str
    platforms: list[PlatformName] = Field(min_length=1, description="Platforms that it holds pins for")
    vllm: str = Field(description="Version of vLLM, as the tree or package calls itself")
    images: dict[ImageName, BuildBase] = Field(description="Base of each image")
    packages: dict[str, Package] = Field(default_factory=dict)
    parts: dict[ImageName, dict[PartName, Part]] = Field(
        default_factory=dict, description="What each image is put together from; NIXL's package is in 'nixl'"
    )
    nixl: dict[PlatformName, Nixl]
    variants: dict[Name, Variant] = Field(min_length=1, description="Ordered: the first that can is taken")
    additions: list[Addition] = Field(default_factory=list)
    switches: Switches = Switches()
    kv_digest: list[PlatformName] = Field(
        default_factory=list, description="Platforms whose connector the KV digest can stand before"
    )
    caveats: list[str] = Field(default_factory=list, description="What a user of this pin set should know")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for platform in self.platforms:
            if platform not in self.nixl:
                raise ValueError(f"has no NIXL for {platform!r}; add 'nixl: {{{platform}: …}}'")
            if platform not in self.images:
                raise ValueError(f"has no base image for {platform!r}; add 'images: {{{platform}: …}}'")
        return self

    def added_env(self, platform: str, role: str, variant: str) -> dict[str, str]:
        """What the additions give to a role on a platform, later ones over earlier ones."""
        chosen: dict[str, str] = {}
        for addition in self.additions:
            only = (addition.platform, addition.role, addition.variant)
            if all(
                wanted in (None, given) for wanted, given in zip(only, (platform, role, variant), strict=True)
            ):
                chosen.update(addition.env)
        return chosen


class PinSet(Pins):
    """A pin set for accelerators: images are built from sources on base images."""

    sources: dict[str, Source]

    @model_validator(mode="after")
    def _known_sources(self) -> Self:
        named = {f"nixl.{key}.source": nixl.source for key, nixl in self.nixl.items()}
        named |= {f"nixl.{key}.ucx": nixl.ucx for key, nixl in self.nixl.items()}
        for name, variant in self.variants.items():
            for index, pick in enumerate(variant.picks):
                named[f"variants.{name}.picks.{index}.source"] = pick.source
            named |= {f"variants.{name}.trees": source for source in variant.trees}
        for image, parts in self.parts.items():
            for part, made in parts.items():
                if isinstance(made, TreePart):
                    named[f"parts.{image}.{part}.tree"] = made.tree
        gaudi = self.nixl.get("gaudi")
        if gaudi and gaudi.package and gaudi.ucx == BUNDLED and re.match(r"0\.[0-7]\.", gaudi.version):
            raise ValueError("nixl.gaudi: NIXL's wheel before 0.8 needs libcuda.so.1; name 0.10.1 or newer")
        for field, source in named.items():
            if source not in (None, BUNDLED, *self.sources):
                raise ValueError(f"{field} names {source!r}, which is not in 'sources'; add it there")
        return self


class TorchLock(Data):
    """torch is locked by itself: its CPU build is not in the common registry."""

    lock: str = Field(min_length=1, description="Hashed requirements, relative to the repository")
    index: str = Field(pattern=r"^https://", description="Where the packages of that lock are")


class ModelPackage(Package):
    """A model that a package carries. ``file`` is relative to the environment's site-packages."""

    file: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the file")
    format: str = Field(description="What the file is, before conversion")
    served_name: str = Field(min_length=1, description="The name that requests carry")


class StandinPins(Pins):
    """The stand-ins' pin set: one environment from hashed locks, and the default model."""

    python: list[str] = Field(min_length=1, description="CPython versions that the locks are for")
    lock: str = Field(min_length=1, description="Hashed requirements, relative to the repository")
    torch: TorchLock
    model: ModelPackage
