"""The hosts file as text: comments by hand, every value through the YAML library. Pure."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from heteropd.hosts_init.assign import Roles
from heteropd.hosts_init.choose import Entry

_WIDTH = 118


def text(entries: Sequence[Entry], roles: Roles, shown: str, schema: str | None) -> str:
    """The whole file. ``shown``: its name on a command line; ``schema``: its schema's relative path."""
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    lines += _comment(
        [
            "Written by `make hosts`, from what every node said of itself. Read it through: lines"
            " with 'check:' say what was not found or is doubtful. Addresses are those that other hosts use.",
            f"Next: make doctor case=case1 hosts={shown}",
        ]
    )
    lines += ["", "hosts:"]
    for entry in entries:
        lines += _host(entry, standin=roles.standin)
    lines += ["", *_platforms(roles), *_router(entries, roles)]
    if roles.standin:
        lines += [
            "",
            *_comment(["CPU stand-ins on all of these hosts, also where there are accelerators."]),
            "standin: true",
        ]
    return "\n".join(lines) + "\n"


def value(data: Any) -> str:
    """One value on one line, quoted where YAML would read it as something else."""
    shown = yaml.safe_dump(data, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return shown.removesuffix("\n").removesuffix("\n...")


def _host(entry: Entry, *, standin: bool) -> list[str]:
    remarks = entry.remarks
    lines = [*_comment(remarks["host"], 2), f"  {value(entry.name)}:"]
    lines += [*_comment(remarks["address"], 4), f"    address: {value(entry.address)}"]
    if entry.management:
        lines += [*_comment(remarks["management"], 4), f"    management: {value(entry.management)}"]
    lines.append(f"    ssh: {value(entry.ssh)}")
    # A stand-in computes on cores and sends over TCP; what was found stays to be read.
    mark = "# " if standin else ""
    if entry.devices:
        lines.append(f"    {mark}devices: {value(list(entry.devices))}")
    lines += _comment(remarks["nics"], 4)
    if entry.nics:
        lines.append(f"    {mark}nics: {value(list(entry.nics))}")
    return lines


def _platforms(roles: Roles) -> list[str]:
    lines = []
    if not roles.standin:
        found = {"cuda": "no GPU", "gaudi": "no Gaudi"}
        without = " and ".join(found[platform] for platform in roles.missing)
        if without:
            fix = "a case needs a host for both, or write the file again with standin=1"
            lines = [f"check: {without} was found; {fix}"]
    shown = {platform: names[0] if len(names) == 1 else names for platform, names in roles.platforms.items()}
    return [*_comment(lines), f"platforms: {value(shown)}"]


def _router(entries: Sequence[Entry], roles: Roles) -> list[str]:
    used = {name for several in roles.platforms.values() for name in several} | {roles.router}
    idle = [entry.name for entry in entries if entry.name not in used]
    lines = [f"check: nothing runs on {', '.join(idle)}"] if idle else []
    if roles.router is None:
        lines.append("null: this machine; its address must be reachable for the engines' clients only")
    return [*_comment(lines), f"router: {value(roles.router)}"]


def _comment(lines: Iterable[str], indent: int = 0) -> list[str]:
    """Lines of comment. What nodes said may hold anything: nothing of it may end the comment."""
    start = " " * indent + "# "
    wrapped = []
    for line in lines:
        plain = "".join(sign if sign.isprintable() else " " for sign in " ".join(line.split()))
        wrapped += textwrap.wrap(
            plain, _WIDTH, initial_indent=start, subsequent_indent=start + "  ", break_on_hyphens=False
        )
    return wrapped
