"""The environment and the argument list of a child, from the plan's and from ours. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from heteropd.config.request import PlanRequest

ENGINE_PYTHON, ENGINE_BIN, MODEL_DIR = "ENGINE_PYTHON", "ENGINE_BIN", "MODEL_DIR"
# vLLM titles its workers, which would overwrite the environment that they are found by and that tests read.
KEEPS_ENVIRONMENT = {"SPT_NOENV": "1"}
PLACES = (ENGINE_PYTHON, ENGINE_BIN, MODEL_DIR)

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# What the caller's shell may carry from other work and what would silently change an engine: its settings,
# its transport's, its threads', and which Python modules it imports.
_DROPPED_PREFIXES = ("VLLM_", "UCX_", "NIXL_", "HETEROPD_", "OMP_", "KMP_", "GOMP_")
_DROPPED_NAMES = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"})
_HERE = ("localhost", "127.0.0.1", "::1")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


@dataclass(frozen=True)
class ChildEnvironment:
    """``variables`` for the child; ``dropped`` names (never values) that it does not inherit from us."""

    variables: dict[str, str]
    dropped: tuple[str, ...]


def child_environment(
    planned: Mapping[str, str],
    parent: Mapping[str, str],
    places: Mapping[str, str],
    extra: Mapping[str, str],
    peers: Iterable[str] = (),
) -> ChildEnvironment:
    """Ours without what changes an engine, then what the plan asks for, then the kit's own ``extra``.

    ``${NAME}`` in an asked value is a place or the parent's variable; unset means empty, as in bash. Peers
    (addresses of the plan's hosts) are exempt from any HTTP proxy: engines must be reached directly.
    """
    dropped = tuple(sorted(name for name in parent if _changes_an_engine(name)))
    inherited = {name: value for name, value in parent.items() if name not in dropped}
    known = {**parent, **places}
    rendered = {name: _NAME.sub(lambda m: known.get(m[1], ""), value) for name, value in planned.items()}
    variables = {**inherited, **_without_proxy(inherited, peers), **rendered, **extra}
    return ChildEnvironment(variables, tuple(name for name in dropped if name not in rendered))


def child_argv(argv: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """The argument list with its places filled in; any other ``${NAME}`` is an argument's own business."""
    return [_NAME.sub(lambda m: places.get(m[1], m[0]), word) for word in argv]


def places_used(argv: Sequence[str], env: Mapping[str, str]) -> set[str]:
    """Names of the places that must be known before this can be started."""
    text = "\0".join([*argv, *env.values()])
    return {match[1] for match in _NAME.finditer(text)} & set(PLACES)


def _changes_an_engine(name: str) -> bool:
    return name.startswith(_DROPPED_PREFIXES) or name in _DROPPED_NAMES


def with_peers_exempt(environment: Mapping[str, str], request: PlanRequest) -> dict[str, str]:
    """A role's environment; where it names a proxy, with every host of the plan exempt from it."""
    hosts = request.hosts.hosts.values() if request.hosts else ()
    peers = [address for host in hosts for address in (host.address, host.management) if address]
    return {**environment, **_without_proxy(environment, peers)}


def _without_proxy(environment: Mapping[str, str], peers: Iterable[str]) -> dict[str, str]:
    if not any(name.lower() in _PROXIES for name in environment):
        return {}
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    exempt = ",".join(dict.fromkeys([*filter(None, given.split(",")), *peers, *_HERE]))
    return {"no_proxy": exempt, "NO_PROXY": exempt}
