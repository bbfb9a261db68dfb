"""The nodes that a user names, and what each of them says of itself."""

import re
from collections.abc import Callable, Mapping, Sequence

from pydantic import TypeAdapter, ValidationError

from heteropd.config.types import SshDestination
from heteropd.doctor.facts import Facts
from heteropd.doctor.model import HostTarget
from heteropd.doctor.probe import Reader, read_facts
from heteropd.errors import BadInput, KitError
from heteropd.system import parallel_map

_WHERE = "command line"
_SSH: TypeAdapter[str] = TypeAdapter(SshDestination)


def named(words: Sequence[str]) -> dict[str, str]:
    """Ssh destinations by the names that their hosts get in the file.

    Raises BadInput for none, for what is not a destination, and for one twice.
    """
    if not words:
        fix = "name them as ssh does: nodes='root@cuda-host root@gaudi-host'"
        raise BadInput(_WHERE, "nodes", None, "missing", fix)
    nodes: dict[str, str] = {}
    for word in words:
        try:
            _SSH.validate_python(word)
        except ValidationError as bad:
            problem, _, fix = str(bad.errors()[0]["ctx"]["error"]).partition("; ")
            raise BadInput(_WHERE, "node", word, problem, fix) from None
        name = _name(word)
        if name in nodes:
            raise BadInput(_WHERE, "node", word, f"is the same node as {nodes[name]}", "name each node once")
        nodes[name] = word
    return nodes


def ask(nodes: Mapping[str, str], reach: Callable[[HostTarget], Reader]) -> dict[str, Facts]:
    """What every node says of itself, by name; all are asked at the same time.

    Raises KitError naming each node that does not answer.
    """
    targets = [HostTarget(name, ssh=ssh) for name, ssh in nodes.items()]
    facts = parallel_map(lambda target: read_facts(reach(target)), targets)
    answers = dict(zip(nodes, facts, strict=True))
    silent = [f"{nodes[name]}: {answer.trouble}" for name, answer in answers.items() if answer.trouble]
    if silent:
        fix = "`ssh -o BatchMode=yes NODE true` must work; nothing was written"
        raise KitError(f"{len(silent)} of {len(nodes)} nodes do not answer: {'; '.join(silent)}; {fix}")
    return answers


def _name(destination: str) -> str:
    """A name that a hosts file takes, from user@host or an alias."""
    host = destination.rpartition("@")[2].lower()
    return re.sub(r"[^a-z0-9._-]", "-", host).lstrip("._-") or "node"
