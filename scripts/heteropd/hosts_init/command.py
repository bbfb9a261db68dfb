"""The verb `hosts`: from nodes on the command line to a hosts file."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heteropd.config import yamlfile
from heteropd.config.hosts import Hosts
from heteropd.config.problems import validate
from heteropd.doctor.model import HostTarget
from heteropd.doctor.probe import Reader
from heteropd.doctor.reach import Reach, ssh_config
from heteropd.errors import EXIT_OK, BadInput
from heteropd.hosts_init import assign, choose, nodes, render

_WHERE = "command line"


@dataclass(frozen=True)
class HostsRequest:
    """Which nodes, as ssh takes them, and the file to write. ``router``: the node that runs it; ``standin``:
    nodes without accelerators stand in; ``force``: write over a file."""

    nodes: Sequence[str]
    to: str | None
    router: str | None = None
    standin: bool = False
    force: bool = False
    ssh_config: str | None = None


def run(request: HostsRequest, root: Path, reach: Callable[[HostTarget], Reader] | None = None) -> int:
    """Ask nodes and write a hosts file; 0.

    Raises BadInput for what does not fit and for a file that is there already, KitError where a node does not
    answer: nothing is written then.
    """
    named = nodes.named(request.nodes)
    router = assign.router_named(request.router, named)
    file = _target(request, root)
    reach = reach or Reach(ssh_config(request.ssh_config))
    print(f"asking {', '.join(named.values())}", file=sys.stderr, flush=True)
    answers = nodes.ask(named, reach)
    entries = [choose.entry(name, ssh, answers[name]) for name, ssh in named.items()]
    assign.require_distinct(entries)
    roles = assign.roles(entries, router, standin=request.standin)
    shown = yamlfile.shown(file, root)
    text = render.text(entries, roles, shown, _schema(file, root))
    validate(Hosts, yamlfile.parse(text, shown), shown)
    _write(file, text, force=request.force)
    doubts = sum("check:" in line for line in text.splitlines()[3:])
    print(f"wrote {shown}: {len(entries)} hosts, {doubts} lines to check")
    return EXIT_OK


def _target(request: HostsRequest, root: Path) -> Path:
    """Where to write. Raises BadInput before anybody is asked."""
    given = request.to
    if not given:
        raise BadInput(_WHERE, "to", given, "missing", "say where to write: to=env/hosts/mine.yaml")
    file = yamlfile.located(given, "to", root)
    if file.is_dir() or not file.parent.is_dir():
        problem = "is a folder" if file.is_dir() else "is in no folder"
        raise BadInput(_WHERE, "to", given, problem, "name a file in a folder that is there")
    if file.exists() and not request.force:
        raise BadInput(_WHERE, "to", given, "is there already", "name another file, or add --force (force=1)")
    return file


def _write(file: Path, text: str, *, force: bool) -> None:
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except OSError as bad:
        problem = f"cannot be written ({bad.strerror})"
        raise BadInput(_WHERE, "to", str(file), problem, "name another file") from None


def _schema(file: Path, root: Path) -> str | None:
    """For editors; only where the path stays inside the repository."""
    if not file.resolve().is_relative_to(root):
        return None
    return os.path.relpath(root / "env/schema/hosts.json", file.resolve().parent)
