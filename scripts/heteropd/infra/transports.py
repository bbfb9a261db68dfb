"""UCX's names: what UCX_TLS asks for, and what `ucx_info -d` offers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

_OFFERED = re.compile(r"^#\s*Transport:\s*(\S+)", re.MULTILINE)
_EVERYTHING = "all"


def named(ucx_tls: str) -> list[str]:
    """Transports that UCX_TLS names; none where it only excludes (``^tcp``) or takes everything.

    ``\\rc_verbs`` means that transport and no alias; ``rc:aux`` restricts what it is used for.
    """
    if ucx_tls.startswith("^"):
        return []
    names = (name.strip().lstrip("\\").partition(":")[0] for name in ucx_tls.split(","))
    return [name for name in dict.fromkeys(names) if name and name != _EVERYTHING]


def offered(ucx_info: str) -> frozenset[str]:
    """Transports in the output of ``ucx_info -d``."""
    return frozenset(_OFFERED.findall(ucx_info))


def missing(ucx_tls: str, there: Iterable[str], aliases: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """A line for each name that leads to none of the transports that are ``there``."""
    found = frozenset(there)
    shown = ", ".join(sorted(found)) or "nothing"
    for name in named(ucx_tls):
        wanted = frozenset(aliases.get(name, [name]))
        if not wanted & found:
            stands = "" if wanted == {name} else f" ({', '.join(sorted(wanted))})"
            yield f"UCX_TLS names {name}{stands}, and ucx_info -d lists {shown}"
