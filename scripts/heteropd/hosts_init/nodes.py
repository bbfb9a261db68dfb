"""The nodes that a user names, and what each of them says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from heteropd.config.types import SshDestination
from heteropd.doctor import facts
from heteropd.doctor.facts import Facts
from heteropd.doctor.model import HostTarget
from heteropd.doctor.runners import Reader
from heteropd.errors import BadInput, KitError

_AT_ONCE = 32
_WHERE = "command line"
_SSH: TypeAdapter[str] = TypeAdapter(SshDestination)


@dataclass(frozen=True)
class SurveyedHost:
    """A machine: its name in the hosts file, and what ssh takes."""

    name: str
    ssh: str


def named(words: Sequence[str]) -> list[SurveyedHost]:
    """Nodes from ssh destinations. Raises BadInput for none, for what is no destination, for one twice."""
    if not words:
        fix = "name them as ssh does: nodes='root@cuda-host root@gaudi-host'"
        raise BadInput(_WHERE, "nodes", None, "missing", fix)
    nodes: dict[str, SurveyedHost] = {}
    for word in words:
        try:
            _SSH.validate_python(word)
        except ValidationError as bad:
            problem, _, fix = str(bad.errors()[0]["ctx"]["error"]).partition("; ")
            raise BadInput(_WHERE, "node", word, problem, fix) from None
        name = _name(word)
        if name in nodes:
            raise BadInput(_WHERE, "node", word, f"is {nodes[name].ssh} once more", "name each node once")
        nodes[name] = SurveyedHost(name, word)
    return list(nodes.values())


def ask(nodes: Sequence[SurveyedHost], reach: Callable[[HostTarget], Reader]) -> dict[str, Facts]:
    """What every node says of itself, by name; all are asked at the same time.

    Raises KitError naming each node that does not answer.
    """
    with ThreadPoolExecutor(max_workers=min(len(nodes), _AT_ONCE)) as pool:
        said = pool.map(lambda node: facts.read(reach(HostTarget(node.name, ssh=node.ssh))), nodes)
        found = {node.name: one for node, one in zip(nodes, said, strict=True)}
    silent = [f"{node.ssh}: {found[node.name].trouble}" for node in nodes if found[node.name].trouble]
    if silent:
        fix = "`ssh -o BatchMode=yes NODE true` must work; nothing was written"
        raise KitError(f"{len(silent)} of {len(nodes)} nodes do not answer: {'; '.join(silent)}; {fix}")
    return found


def _name(destination: str) -> str:
    """A name that a hosts file takes, from user@host or an alias."""
    host = destination.rpartition("@")[2].lower()
    return re.sub(r"[^a-z0-9._-]", "-", host).lstrip("._-") or "node"
