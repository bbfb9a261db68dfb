"""Everything that `env/` says, loaded and checked once, then passed along."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from heteropd.config import lock, yamlfile
from heteropd.config.cases import Case
from heteropd.config.checks import RuleEntry, Rules
from heteropd.config.defaults import Defaults, StandIns
from heteropd.config.hosts import Hosts
from heteropd.config.images import Images
from heteropd.config.pins import Pins, PinSet, StandinPins
from heteropd.config.platforms import Platform
from heteropd.config.types import Data, PlatformName
from heteropd.config.vllm_options import VllmOptions
from heteropd.errors import BadInput, did_you_mean

Model = TypeVar("Model", bound=Data)
AnyPins = TypeVar("AnyPins", bound=Pins)
Item = TypeVar("Item")
Key = TypeVar("Key", bound=str)


class Env(Data):
    """The environment data of one repository, by name. A file's name is the name of what it holds."""

    defaults: Defaults
    standins: StandIns
    images: Images
    cases: dict[str, Case]
    platforms: dict[str, Platform]
    accelerator_pins: dict[str, PinSet]
    standin: StandinPins
    vllm_options: VllmOptions
    rules: dict[str, RuleEntry]

    @property
    def pins(self) -> dict[str, Pins]:
        """Every pin set; the stand-ins' is the one that env/standins.yaml names."""
        return {**self.accelerator_pins, self.standins.defaults.pins: self.standin}

    def kv_digest(self, pins: Pins) -> set[PlatformName]:
        """Platforms that can have the KV digest, stand-ins among them."""
        return {*pins.kv_digest, *self.standin.kv_digest}


def load(root: Path, *, locked: bool = True) -> Env:
    """Load ``root/env``. Raises BadInput for the first file that is wrong or missing.

    What pin sets leave open is taken from their locks, unless ``locked`` is false.
    """
    folder = root / "env"
    if not folder.is_dir():
        raise BadInput(str(folder), None, None, "no such folder", "run this inside the kit's repository")
    standins = yamlfile.load(StandIns, folder / "standins.yaml", root)
    standin_pins = folder / "pins" / f"{standins.defaults.pins}.yaml"
    accelerators = _folder(PinSet, folder / "pins", root, but=standin_pins)
    standin = yamlfile.load(StandinPins, standin_pins, root)
    if locked:
        accelerators = {name: _locked(pins, name, root) for name, pins in accelerators.items()}
        standin = _locked(standin, standins.defaults.pins, root)
    images = yamlfile.load(Images, folder / "images.yaml", root)
    platforms = _folder(Platform, folder / "platforms", root)
    for name in platforms:
        if name not in images.images:
            problem = f"has no image for the platform {name!r}"
            raise BadInput("env/images.yaml", "images", ", ".join(images.images), problem, "add one")
    return Env(
        defaults=yamlfile.load(Defaults, folder / "defaults.yaml", root),
        standins=standins,
        images=images,
        cases=_folder(Case, folder / "cases", root),
        platforms=platforms,
        accelerator_pins=accelerators,
        standin=standin,
        rules=yamlfile.load(Rules, folder / "rules.yaml", root).rules,
        vllm_options=yamlfile.load(VllmOptions, folder / "vllm-options.yaml", root),
    )


def load_hosts(path: Path, root: Path) -> Hosts:
    """Load one hosts file. Raises BadInput."""
    return yamlfile.load(Hosts, path, root)


def pick(kind: str, name: str, known: Mapping[Key, Item], where: str = "command line") -> Item:
    """``known[name]``. Raises BadInput with the nearest known name."""
    by_name: dict[str, Item] = {str(key): item for key, item in known.items()}
    if name not in by_name:
        raise BadInput(where, kind, name, f"no such {kind}", did_you_mean(name, by_name))
    return by_name[name]


def _locked(pins: AnyPins, name: str, root: Path) -> AnyPins:
    return lock.apply(pins, lock.load(root, name), yamlfile.shown(lock.path(root, name), root))


def _folder(model: type[Model], folder: Path, root: Path, but: Path | None = None) -> dict[str, Model]:
    files = [file for file in sorted(folder.glob("*.yaml")) if file != but]
    if not files:
        raise BadInput(
            yamlfile.shown(folder, root), None, None, "holds no *.yaml file", "restore it from git"
        )
    return {file.stem: yamlfile.load(model, file, root) for file in files}
