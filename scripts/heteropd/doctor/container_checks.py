"""T2: what containers need of a host: Docker, a vendor's runtime, a driver that is new enough."""

import re
from collections.abc import Mapping

from heteropd.doctor.facts import DockerFacts
from heteropd.doctor.model import EngineTarget, ExaminedHost, Outcome, worst

_HOOKS = frozenset({"nvidia-container-runtime-hook", "nvidia-container-toolkit", "nvidia-container-cli"})
_DRIVERS = {"cuda": ("nvidia", "CUDA"), "gaudi": ("habanalabs", "the Gaudi software")}
_SILENT = {"absent": "there is no socket of Docker", "denied": "this user may not use Docker's socket"}
_NOT_UNDERSTOOD = "Docker's socket is there, and nothing that is understood answered through it"


def docker(host: ExaminedHost) -> Outcome:
    """Docker answers this user, and is as new as env/images.yaml wants."""
    if not host.target.docker:
        return Outcome("SKIP", "no container is planned here")
    found = host.facts.docker
    if found is None:
        return Outcome("WARN", "whether Docker is here could not be read")
    if not found.version:
        return Outcome("FAIL", _SILENT.get(found.socket, _NOT_UNDERSTOOD))
    return _version(found, host.target.needs.docker)


def _version(found: DockerFacts, oldest: str) -> Outcome:
    text = f"{found.product} {found.version}"
    if found.product != "Docker":
        return Outcome("WARN", f"{text} answers in Docker's place, which nobody has tried with this kit")
    if not _numbers(found.version):
        return Outcome("WARN", f"the version of {text} is not understood")
    if _numbers(found.version) < _numbers(oldest):
        return Outcome("FAIL", f"{text}, {oldest} or newer wanted")
    return Outcome("PASS", text)


def container_runtime(host: ExaminedHost) -> Outcome:
    """The runtime that containers ask for by ``--runtime`` or ``--gpus`` is known to Docker."""
    wanted = sorted({name for engine in host.target.engines for name in _runtimes(engine)})
    if not wanted:
        return Outcome("SKIP", "no container here asks for a vendor's runtime")
    found = host.facts.docker
    if found is None or not found.version:
        return Outcome("SKIP", "Docker does not answer: T2-62-docker says more")
    if found.runtimes is None:
        return Outcome("WARN", f"Docker did not say which runtimes it has ({', '.join(wanted)} wanted)")
    hooks = host.facts.programs & _HOOKS
    missing = [name for name in wanted if name not in found.runtimes and not (name == "nvidia" and hooks)]
    if missing:
        known = ", ".join(sorted(found.runtimes))
        return Outcome("FAIL", f"no runtime {', '.join(missing)}; Docker has {known}")
    return Outcome("PASS", ", ".join(wanted))


def driver(host: ExaminedHost) -> Outcome:
    """The accelerator's driver is as new as the software in the image wants."""
    engines = [each for each in host.target.engines if each.role.container and each.role.runs_on in _DRIVERS]
    if not engines:
        return Outcome("SKIP", "no container with an accelerator is planned here")
    outcomes = [_driver_of(engine, host) for engine in engines]
    return worst(outcomes)


def _driver_of(engine: EngineTarget, host: ExaminedHost) -> Outcome:
    platform = engine.role.runs_on
    module, product = _DRIVERS[platform]
    software, found = host.target.needs.software.get(platform), _driver(host, platform)
    # Of Gaudi, a driver is released with its software, under the same number.
    oldest = _oldest_driver(software, host.limits.drivers) if software and platform == "cuda" else software
    if not oldest:
        return Outcome("SKIP", f"nothing says which driver {product} {software or ''} of the image wants")
    release = _numbers(found)[: len(_numbers(oldest))]
    text = f"driver {found}, {oldest} wanted at least by {product} {software} of the image"
    if not release:
        return Outcome("WARN", f"the version of the driver {module} is unknown: {found or 'nothing says it'}")
    if release < _numbers(oldest):
        return Outcome("FAIL" if _of_the_kit(engine) else "WARN", text)
    if platform == "gaudi" and release > _numbers(oldest):
        return Outcome("WARN", f"driver {found} is of a later release than {product} {software} of the image")
    return Outcome("PASS", text)


def _of_the_kit(engine: EngineTarget) -> bool:
    """Whether an image is one that the kit builds: a site's own may have other software."""
    image = engine.role.container.image if engine.role.container else ""
    return re.split("[:@]", image.rpartition("/")[2])[0] == engine.role.runs_on


def _runtimes(engine: EngineTarget) -> list[str]:
    options = engine.options
    named = [options.runtime if options else None, "nvidia" if options and options.gpus else None]
    return [name for name in named if name]


def _driver(host: ExaminedHost, platform: str) -> str:
    """What the kernel module or the vendor's tool says; empty where neither does."""
    listed = host.facts.cards.get(platform)
    module = host.facts.drivers.get(_DRIVERS[platform][0], "")
    return next(filter(None, [module, *(card.driver for card in listed.cards)]), "") if listed else module


def _oldest_driver(cuda: str, drivers: Mapping[str, str]) -> str | None:
    """Of the CUDA versions that are listed, the newest that is not newer: what its driver must be."""
    known = [version for version in drivers if _numbers(version) <= _numbers(cuda)]
    return drivers[max(known, key=_numbers)] if known else None


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers at the front of a version; none where it begins with something else."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(number) for number in match[1].split(".")) if match else ()
