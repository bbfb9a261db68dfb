"""What env/ says must be in an image: its pin set, variant, locks and env/images.yaml in one place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from heteropd.config.env import Env
from heteropd.config.images import Images
from heteropd.config.pins import BUNDLED, Nixl, Package, PinSet
from heteropd.config.types import UNRESOLVED
from heteropd.errors import BadInput
from heteropd.images.recipe import LABEL, Choice, tag

# What a build installs beside its locks: the stand-in's plugin, and what venv and uv put there themselves.
_BESIDE_LOCKS = {"heteropd-engine", "pip", "setuptools", "wheel"}


@dataclass(frozen=True)
class ExpectedContents:
    """Facts for one image of one pin set. None: the pin set does not say.

    ``by_hand``: inputs that a user gave instead of the pinned ones, as `by_hand` reads them from the labels:
    what follows from those is nobody's expectation.
    """

    tag: str
    choice: Choice
    images: Images
    root: Path
    labels: dict[str, str] = field(default_factory=dict)
    by_hand: frozenset[str] = frozenset()

    def given(self, *names: str) -> bool:
        """Whether one of these was given by hand, as a source or as an installed part."""
        return any(f"{kind}.{name}" in self.by_hand for kind in ("source", "part") for name in names)

    @property
    def nixl(self) -> Nixl | None:
        """The NIXL of an engine's platform; the router has none."""
        return None if self.choice.image == "router" else self.choice.pins.nixl.get(self.choice.image)

    @property
    def nixl_version(self) -> str | None:
        by_lock = self.nixl is not None and self.nixl.package is not None and "lock" in self.by_hand
        return _known(self.nixl.version) if self.nixl and not by_lock and not self.given("nixl") else None

    @property
    def ucx_version(self) -> str | None:
        """None for a UCX that a package brings along: its version is that package's own business."""
        if self.nixl is None or self.nixl.ucx == BUNDLED or not isinstance(self.choice.pins, PinSet):
            return None
        if self.given(self.nixl.ucx):
            return None
        return self.choice.pins.sources[self.nixl.ucx].version

    @property
    def libraries(self) -> list[str]:
        """Modules that its UCX must have; the vendor's transport only where UCX is a part of its own."""
        own = "ucx" in self.choice.parts or self.given("ucx")
        return [*self.choice.spec.libraries, *(self.choice.spec.ucx_part_libraries if own else [])]

    @property
    def ucx_flags(self) -> list[str]:
        by_hand = self.nixl is not None and self.given(self.nixl.ucx)
        return self.nixl.build_flags if self.nixl and not by_hand else []

    @property
    def vllm(self) -> str | None:
        if self.choice.image == "router" or self.given("vllm"):
            return None
        package = self.choice.parts.get("vllm")
        if isinstance(package, Package) and "lock" in self.by_hand:
            return None
        return _known(package.version if isinstance(package, Package) else self.choice.pins.vllm)

    @property
    def vllm_gaudi(self) -> str | None:
        """The plugin's version, where the pin set says what its tree calls itself."""
        if self.choice.image != "gaudi" or not isinstance(self.choice.pins, PinSet):
            return None
        if self.given("vllm-gaudi", "vllm"):
            return None
        return self.choice.pins.sources["vllm-gaudi"].version

    def commit(self, source: str) -> str | None:
        """The commit that a source is built from: None with commits on top of it, whose hash is nobody's."""
        pinned = self.choice.pinned_sources.get(source)
        if pinned is None:
            return None
        if self.given(source) or (source == "vllm" and isinstance(self.choice.parts.get("vllm"), Package)):
            return None
        picked = any(commit.source == source for commit in self.choice.variant.picks)
        return None if picked else _known(pinned.commit)

    def locked(self, python: Mapping[str, Any]) -> dict[str, str]:
        """``{package: version}`` of its locks on that Python (an inventory's ``python``). Raises BadInput."""
        markers = marker_environment(str(python["version"]), str(python["machine"]))
        found: dict[str, str] = {}
        for name in self.choice.locks():
            found |= locked_versions(self.root / name, name, markers)
        return found

    def built(self) -> set[str]:
        """Packages that are not in a lock because the image is where they are built."""
        packages = {self.nixl.package} if self.nixl and self.nixl.package else set()
        names = {*self.choice.sources, *packages, *(["nixl", "nixl-cu12"] if self.nixl else [])}
        return {canonicalize_name(name) for name in names} | _BESIDE_LOCKS


def by_hand(labels: Mapping[str, str]) -> frozenset[str]:
    """Inputs that the labels say were given on the command line: base, lock, source.NAME, part.NAME."""
    named = re.findall(r"command line: ([^,\s]+)", labels.get(f"{LABEL}.unlocked", ""))
    parts = [name.removeprefix(f"{LABEL}.") for name in labels if name.startswith(f"{LABEL}.part.")]
    return frozenset([*named, *parts])


def expected(choice: Choice, env: Env, root: Path, given: frozenset[str] = frozenset()) -> ExpectedContents:
    """What the image must be, but for what was ``given`` by hand. No lock is read before it is asked for."""
    labels = {
        f"{LABEL}.image": choice.image,
        f"{LABEL}.pins": choice.pins_name,
        f"{LABEL}.variant": choice.variant_name,
        f"{LABEL}.vllm": choice.vllm,
    }
    unneeded = choice.trees if "part.vllm" in given else []
    for name, source in choice.pinned_sources.items():
        if f"source.{name}" not in given and name not in unneeded:
            labels[f"{LABEL}.source.{name}"] = source.commit
    return ExpectedContents(tag(choice, env), choice, env.images, root, labels, given)


def _known(value: str) -> str | None:
    return None if value == UNRESOLVED else value


def marker_environment(python: str, machine: str) -> dict[str, str]:
    """What markers may ask of CPython on Linux. ``python``: its full version; ``machine``: as uname says."""
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def locked_versions(lock: Path, where: str, markers: Mapping[str, str]) -> dict[str, str]:
    """``{package: version}`` that ``lock`` installs there. Raises BadInput for a line that it cannot read."""
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        fix = "restore it from git"
        raise BadInput(where, None, None, f"cannot be read ({problem.strerror})", fix) from None
    found: dict[str, str] = {}
    for line in lines:
        text = line.removesuffix("\\").strip()
        if not text or text.startswith(("#", "-")):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            fix = "make it anew: make relock"
            raise BadInput(where, "requirement", text, "is not understood", fix) from None
        if requirement.marker is None or requirement.marker.evaluate(dict(markers)):
            pinned = [clause.version for clause in requirement.specifier if clause.operator == "=="]
            found |= {canonicalize_name(requirement.name): version for version in pinned}
    return found
