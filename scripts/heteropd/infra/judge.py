"""What is wrong with a running engine, one line each. Pure: facts in, lines out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence

from heteropd.images.contents_compare import same_version
from heteropd.infra.processes import Family, Process, everywhere

_PLACE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
# vLLM's own modules put folders and libraries of theirs before and after (cv2, torch's libgomp).
_PATHS = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "PYTHONPATH")
NIXL, UCX = "libnixl", "libucp"


def transferring(family: Family) -> list[Process]:
    """The first process, and those that hold UCX: their environment is what counts."""
    first, loading = family.first, family.loading(UCX)
    return [first, *(one for one in loading if one.pid != first.pid)]


def environment(family: Family, planned: Mapping[str, str]) -> Iterator[str]:
    """The plan's variables, as the process has them. ``${NAME}`` stands for what whoever starts it has."""
    for process in (one for one in transferring(family) if one.variables is not None):
        for name, value in sorted(planned.items()):
            found = (process.variables or {}).get(name)
            if found is None:
                yield f"{name}: not set in pid {process.pid} ({process.name}), {value!r} in the plan"
            elif not _holds(name, found, value):
                yield f"{name}: {found!r} in pid {process.pid} ({process.name}), {value!r} in the plan"


def _holds(name: str, found: str, planned: str) -> bool:
    """Whether a value is the planned one. To lists of paths, engines add; the planned order stays."""
    if name in _PATHS:
        rest = iter(found.split(":"))
        return all(entry in rest for entry in planned.split(":") if not _PLACE.search(entry))
    pattern = ".*".join(re.escape(part) for part in _PLACE.split(planned))
    return re.fullmatch(pattern, found, re.DOTALL) is not None


def one_copy(family: Family, libraries: Sequence[str]) -> Iterator[str]:
    """No process has two copies of a library, and one has NIXL with its UCX."""
    for process in family.processes:
        for library in libraries:
            paths = process.loaded(library)
            if len(paths) > 1:
                yield f"{library}: {len(paths)} in pid {process.pid} ({process.name}): {', '.join(paths)}"
    for library in (NIXL, UCX):
        if not family.loading(library):
            yield f"{library}: no process of the engine has loaded it"


def memlock(family: Family) -> Iterator[str]:
    """Memory may be locked without limit where UCX registers it."""
    for process in transferring(family):
        limit = process.memlock
        if limit is not None and not limit.enough:
            assert limit.limit is not None, "no limit is enough"
            yield f"pid {process.pid} ({process.name}): may lock {limit.limit / 1024:g} KiB only"


def side_channel(family: Family, announced: str, port: int) -> Iterator[str]:
    """The engine itself listens where its peers are told to ask, or on every address."""
    found = family.listening(port)
    if not found:
        yield f"no process of the engine listens on port {port}"
        return
    try:
        wanted = str(ipaddress.ip_address(announced))
    except ValueError:
        return  # A name: which address it has is the resolver's business, on the peer.
    if wanted not in found and not everywhere(found):
        yield f"announced is {announced}:{port}, and it listens on {', '.join(sorted(found))}"


def versions(found: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """Packages of the engine's Python at their versions; ``wanted`` by canonical name."""
    for name, version in sorted(wanted.items()):
        if name not in found:
            yield f"{name}: not installed, {version} wanted"
        elif found[name] != version and not same_version(found[name], version):
            yield f"{name}: {found[name]} is installed, {version} wanted"


def clock(skew_s: float, trip_s: float, limit_s: float) -> Iterator[str]:
    """Clocks agree, as far as a look that took ``trip_s`` can tell."""
    if abs(skew_s) - trip_s / 2 > limit_s:
        yield f"the host's clock is {skew_s:+.1f} s from this machine's, {limit_s:g} s at most"


def huge_pages(meminfo: str) -> tuple[int, int] | None:
    """Huge pages that are reserved, and those of them that are free; None where the kernel has none."""
    found = dict(re.findall(r"^HugePages_(Total|Free):\s+(\d+)", meminfo, re.MULTILINE))
    return (int(found["Total"]), int(found["Free"])) if len(found) == 2 else None


def model(arguments: Sequence[str]) -> str | None:
    """The folder in an engine's command line (``--model FOLDER`` or ``serve FOLDER``); None for a hub id."""
    for option in ("--model", "serve"):
        if option in arguments[:-1]:
            found = arguments[arguments.index(option) + 1]
            return found if found.startswith("/") else None
    return None
