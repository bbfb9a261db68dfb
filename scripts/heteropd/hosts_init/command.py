"""The verb `hosts`: from nodes on the command line to a hosts file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from heteropd.config import yamlfile
from heteropd.config.arguments import Arguments
from heteropd.config.hosts import Hosts
from heteropd.config.problems import did_you_mean, validate
from heteropd.doctor.model import HostTarget
from heteropd.doctor.probe import Reader
from heteropd.doctor.reach import Reach, ssh_config
from heteropd.errors import EXIT_OK, BadInput
from heteropd.hosts_init import assign, choose, nodes, render

_FLAGS = ("force", "standin")
_OPTIONS = ("to", "nodes", "ssh_config", "router")
_WHERE = "command line"


def run(words: list[str], root: Path, reach: Callable[[HostTarget], Reader] | None = None) -> int:
    """Ask nodes and write a hosts file; 0.

    Raises BadInput for words that do not fit and for a file that is there already, KitError where a node does
    not answer: nothing is written then.
    """
    parsed = Arguments(words, flags=_FLAGS, options=_OPTIONS)
    named = nodes.named(_nodes(parsed))
    router = assign.router_named(parsed.options.get("router"), named)
    file = _target(parsed, root)
    reach = reach or Reach(ssh_config(parsed.options.get("ssh_config")))
    print(f"asking {', '.join(named.values())}", file=sys.stderr, flush=True)
    answers = nodes.ask(named, reach)
    entries = [choose.entry(name, ssh, answers[name]) for name, ssh in named.items()]
    assign.require_distinct(entries)
    roles = assign.roles(entries, router, standin="standin" in parsed.flags)
    shown = yamlfile.shown(file, root)
    text = render.text(entries, roles, shown, _schema(file, root))
    validate(Hosts, yamlfile.parse(text, shown), shown)
    _write(file, text, force="force" in parsed.flags)
    doubts = sum("check:" in line for line in text.splitlines()[3:])
    print(f"wrote {shown}: {len(entries)} hosts, {doubts} lines to check")
    return EXIT_OK


def _nodes(parsed: Arguments) -> list[str]:
    given = parsed.rest[1:] if parsed.rest[:1] == ["init"] else parsed.rest
    for word in given:
        name, equals, value = word.partition("=")
        if equals:
            fix = did_you_mean(name, [*_OPTIONS, *_FLAGS])
            raise BadInput(_WHERE, name, value, "unknown parameter", fix)
    return [*given, *parsed.options.get("nodes", "").replace(",", " ").split()]


def _target(parsed: Arguments, root: Path) -> Path:
    """Where to write. Raises BadInput before anybody is asked."""
    given = parsed.options.get("to")
    if not given:
        raise BadInput(_WHERE, "to", given, "missing", "say where to write: to=env/hosts/mine.yaml")
    file = yamlfile.located(given, "to", root)
    if file.is_dir() or not file.parent.is_dir():
        problem = "is a folder" if file.is_dir() else "is in no folder"
        raise BadInput(_WHERE, "to", given, problem, "name a file in a folder that is there")
    if file.exists() and "force" not in parsed.flags:
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
