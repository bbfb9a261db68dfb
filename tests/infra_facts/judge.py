"""What is wrong with a running engine, one line each. Pure: facts in, lines out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from heteropd.images.contents_compare import same_version
from infra_facts.processes import Process, ProcessTree, everywhere

_PLACE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
# vLLM's own modules put folders and libraries of theirs before and after (cv2, torch's libgomp).
_PATHS = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "PYTHONPATH")
NIXL, UCX = "libnixl", "libucp"
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
NO_PROXY = ("no_proxy", "NO_PROXY")


def transferring(tree: ProcessTree) -> list[Process]:
    """The first process, and those that hold UCX: their environment is what counts."""
    first, loading = tree.first, tree.loading(UCX)
    return [first, *(process for process in loading if process.pid != first.pid)]


def environment(tree: ProcessTree, planned: Mapping[str, str]) -> Iterator[str]:
    """The plan's variables, as the process has them. ``${NAME}`` stands for what whoever starts it has."""
    for process in transferring(tree):
        if process.variables is None:
            continue
        for name, value in sorted(planned.items()):
            actual = process.variables.get(name)
            if actual is None:
                yield f"{name}: not set in pid {process.pid} ({process.name}), {value!r} in the plan"
            elif not _holds(name, actual, value):
                yield f"{name}: {actual!r} in pid {process.pid} ({process.name}), {value!r} in the plan"


def _holds(name: str, actual: str, planned: str) -> bool:
    """Whether a value is the planned one. To lists of paths, engines add; the planned order stays."""
    if name in _PATHS:
        rest = iter(actual.split(":"))
        return all(entry in rest for entry in planned.split(":") if not _PLACE.search(entry))
    pattern = ".*".join(re.escape(part) for part in _PLACE.split(planned))
    return re.fullmatch(pattern, actual, re.DOTALL) is not None


def proxied(tree: ProcessTree, peers: Iterable[str]) -> Iterator[str]:
    """No proxy stands between the roles: where one is set, no_proxy names every peer's address."""
    for process in tree.processes:
        variables = process.variables or {}
        proxies = [name for name in PROXIES if variables.get(name)]
        exempt = {word.strip() for name in NO_PROXY for word in variables.get(name, "").split(",")}
        missing = [peer for peer in dict.fromkeys(peers) if not exempt & {peer, "*"}]
        if proxies and missing:
            problem = f"{', '.join(proxies)} in pid {process.pid} ({process.name})"
            yield f"{problem}, and no_proxy does not name {', '.join(missing)}"


def one_copy(tree: ProcessTree, libraries: Sequence[str]) -> Iterator[str]:
    """No process has two copies of a library, and one has NIXL with its UCX."""
    for process in tree.processes:
        for library in libraries:
            paths = process.loaded(library)
            if len(paths) > 1:
                yield f"{library}: {len(paths)} in pid {process.pid} ({process.name}): {', '.join(paths)}"
    for library in (NIXL, UCX):
        if not tree.loading(library):
            yield f"{library}: no process of the engine has loaded it"


def memlock(tree: ProcessTree) -> Iterator[str]:
    """Memory may be locked without limit where UCX registers it."""
    for process in transferring(tree):
        limit = process.memlock
        if limit is not None and not limit.enough:
            assert limit.limit is not None, "no limit is enough"
            yield f"pid {process.pid} ({process.name}): may lock {limit.limit / 1024:g} KiB only"


def side_channel(tree: ProcessTree, announced: str, port: int) -> Iterator[str]:
    """The engine itself listens where its peers are told to ask, or on every address."""
    addresses = tree.listening(port)
    if not addresses:
        yield f"no process of the engine listens on port {port}"
        return
    try:
        wanted = str(ipaddress.ip_address(announced))
    except ValueError:
        return  # A name: which address it has is the resolver's business, on the peer.
    if wanted not in addresses and not everywhere(addresses):
        yield f"announced is {announced}:{port}, and it listens on {', '.join(sorted(addresses))}"


def versions(installed: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """Packages of the engine's Python at their versions; ``wanted`` by canonical name."""
    for name, version in sorted(wanted.items()):
        if name not in installed:
            yield f"{name}: not installed, {version} wanted"
        elif installed[name] != version and not same_version(installed[name], version):
            yield f"{name}: {installed[name]} is installed, {version} wanted"


def huge_pages(meminfo: str) -> tuple[int, int] | None:
    """Huge pages that are reserved, and those of them that are free; None where the kernel has none."""
    pages = dict(re.findall(r"^HugePages_(Total|Free):\s+(\d+)", meminfo, re.MULTILINE))
    return (int(pages["Total"]), int(pages["Free"])) if len(pages) == 2 else None


def model(arguments: Sequence[str]) -> str | None:
    """The folder in an engine's command line (``--model FOLDER`` or ``serve FOLDER``); None for a hub id."""
    for option in ("--model", "serve"):
        if option in arguments[:-1]:
            source = arguments[arguments.index(option) + 1]
            return source if source.startswith("/") else None
    return None
