"""Hashed requirements of an image, made from what its pin set names: env/locks/engine-IMAGE-PINS.txt.

The first line of the file says what it was made from, so that one look tells whether it is current.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from heteropd.config.env import Env
from heteropd.config.pins import BUNDLED, Package, PinSet, TreePart
from heteropd.config.types import UNRESOLVED
from heteropd.errors import BadInput, KitError
from heteropd.images import recipe
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Choice
from heteropd.prepare import environments, pip_settings
from heteropd.system import Completed, write_whole

_TIMEOUT_S = 600.0
# NIXL's meta package asks for every binary of its; one is installed.
_BINARIES = ("nixl-cu12", "nixl-cu13")
# The distribution's Python of the bases is 3.12; the oldest that the kit runs on is 3.11.
_FOR = ("--universal", "--python-version", "3.11")
_QUIET = ("--quiet", "--no-config", "--no-header", "--no-annotate", "--no-emit-index-url")


def choices(pins: Iterable[str], env: Env) -> list[Choice]:
    """Images that have a lock of their own in one of the pin sets."""
    return [
        recipe.choose(image, name, None, env)
        for name in pins
        for image, spec in env.images.images.items()
        if image in env.pins[name].parts and any("{pins}" in lock for lock in spec.locks)
    ]


def wanted(choice: Choice) -> list[str]:
    """What is asked for: packages at one version, and what trees need beside them."""
    lines = []
    for part in choice.parts.values():
        if isinstance(part, Package):
            lines.append(f"{part.package}=={part.version}")
        elif isinstance(part, TreePart):
            lines += part.requires
    nixl = choice.pins.nixl[choice.image] if choice.image in ("cuda", "gaudi", "cpu") else None
    if nixl is not None and nixl.package and nixl.ucx == BUNDLED and "nixl" not in choice.parts:
        lines += [f"nixl=={nixl.version}", f"{nixl.package}=={nixl.version}"]
    return sorted(lines)


def file(choice: Choice) -> str:
    """The lock's name, relative to the repository."""
    return choice.locks()[0]


def is_current(choice: Choice, root: Path) -> bool:
    """Whether the lock is there and was made from what the pin set says now."""
    try:
        return (root / file(choice)).read_text(encoding="utf-8").startswith(_header(choice))
    except FileNotFoundError:
        return False


def resolve(choice: Choice, context: BuildContext) -> None:
    """Make the lock. Raises KitError with what the resolver says; an old file is then still there."""
    lines = wanted(choice)
    if open_ := [line for line in lines if line.endswith(UNRESOLVED)]:
        fix = f"resolve them in env/pins/{choice.pins_name}.yaml first"
        raise BadInput(file(choice), None, None, f"cannot be made: {', '.join(open_)}", fix)
    site = pip_settings.read(context.runner)
    # Not folders of wheels, and no other index: a lock that others use has every hash of the registry.
    options = {key: site.get(key, []) for key in ("index-url", "cert")}
    environ = {**context.environ, **pip_settings.variables(options, context.environ)}
    with TemporaryDirectory(prefix="heteropd-lock-") as folder:
        overrides = Path(folder) / "overrides.txt"
        overrides.write_text(_overrides(choice, lines, context.root), encoding="utf-8")
        done = compiled(lines, [*_FOR, "--generate-hashes", "--override", str(overrides)], environ, context)
    if done.code != 0:
        raise KitError(f"{file(choice)}: cannot be resolved: {done.why}")
    write_whole(context.root / file(choice), _header(choice) + done.out)


def compiled(
    lines: Iterable[str], options: Iterable[str], environ: Mapping[str, str], context: BuildContext
) -> Completed:
    """What uv resolves requirements to, on its output."""
    with TemporaryDirectory(prefix="heteropd-lock-") as folder:
        asked = Path(folder) / "wanted.in"
        asked.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        argv = [environments.find_uv(), "pip", "compile", *_QUIET, *options, str(asked)]
        return context.runner.run(argv, env=environ, timeout_s=_TIMEOUT_S)


def _overrides(choice: Choice, lines: list[str], root: Path) -> str:
    """What is never installed: of env/locks/engine-IMAGE.overrides, and NIXL's other binary."""
    own = root / f"env/locks/engine-{choice.image}.overrides"
    text = own.read_text(encoding="utf-8") if own.exists() else ""
    named = [line.partition("==")[0] for line in lines]
    absent = [name for name in _BINARIES if name not in named]
    return text + "".join(f'{name} ; python_version < "3"\n' for name in absent)


def _header(choice: Choice) -> str:
    kind = "pin set" if isinstance(choice.pins, PinSet) else "stand-in"
    return f"# `make lock`, {kind} {choice.pins_name}, image {choice.image}: {' '.join(wanted(choice))}\n"
