"""What `ucx_info -d` offers, beside what UCX_TLS names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from heteropd import ucx

_OFFERED = re.compile(r"^#\s*Transport:\s*(\S+)", re.MULTILINE)


def offered(ucx_info: str) -> frozenset[str]:
    """Transports in the output of ``ucx_info -d``."""
    return frozenset(_OFFERED.findall(ucx_info))


def missing(environment: Mapping[str, str], offers: Iterable[str]) -> Iterator[str]:
    """A line for each word of UCX_TLS that leads to none of the transports that UCX offers."""
    named, available = ucx.transports(environment), frozenset(offers)
    shown = ", ".join(sorted(available)) or "nothing"
    for word in named.words if named.mode == "named" else ():
        wanted = frozenset(ucx.expand(word))
        if not wanted & available:
            stands = "" if wanted == {word} else f" ({', '.join(sorted(wanted))})"
            yield f"UCX_TLS names {word}{stands}, and ucx_info -d lists {shown}"
