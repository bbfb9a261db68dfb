"""An engine as it runs: it and its descendants, read from /proc by one command and parsed into plain data."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from heteropd.doctor.facts import Memlock
from heteropd.doctor.probe import Reader, parse_memlock

_TIMEOUT_S = 60.0
_WILDCARDS = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Process:
    """One process. None: this user may not read it. ``listens``: pairs of address and TCP port.

    ``retitled``: its title was written over its environment, as setproctitle does without SPT_NOENV.
    """

    pid: str
    name: str
    memlock: Memlock | None = None
    variables: dict[str, str] | None = None
    libraries: tuple[str, ...] | None = None
    listens: frozenset[tuple[str, int]] | None = None
    retitled: bool = False

    def loaded(self, library: str) -> list[str]:
        """Paths of the copies of a library, such as ``libucp``, that the process has mapped."""
        names = {path: path.rpartition("/")[2] for path in self.libraries or ()}
        return sorted(path for path, name in names.items() if name.startswith((f"{library}.", f"{library}-")))


@dataclass(frozen=True)
class ProcessTree:
    """An engine's first process and its descendants. ``trouble``: why nothing is known of it."""

    trouble: str | None = None
    leader: str = ""
    arguments: tuple[str, ...] = ()
    processes: tuple[Process, ...] = field(default=())

    @property
    def first(self) -> Process:
        return next(process for process in self.processes if process.pid == self.leader)

    def loading(self, library: str) -> list[Process]:
        """The processes that have a library loaded."""
        return [process for process in self.processes if process.loaded(library)]

    def listening(self, port: int) -> set[str]:
        """Addresses on which a process of the engine listens at a TCP port."""
        return {
            address
            for process in self.processes
            for address, number in process.listens or ()
            if number == port
        }

    def closed(self, fact: Literal["memlock", "variables", "libraries", "listens"]) -> list[str]:
        """Processes of which a fact cannot be had. A child's overwritten environment was its parent's."""
        return [
            f"pid {process.pid} ({process.name})"
            for process in self.processes
            if getattr(process, fact) is None
            and not (fact == "variables" and process.retitled and process.pid != self.leader)
        ]


def read(reader: Reader, pid: int | None, port: int, names: Sequence[str], root: str = "") -> ProcessTree:
    """Read an engine: of ``pid``, or of whoever listens on ``port``. Never raises: see ``trouble``.

    ``names``: the variables that are wanted; the rest of the environment stays where it is.
    """
    script = (Path(__file__).parent / "processes.sh").read_text(encoding="utf-8")
    words = ["sh", "-c", script, "processes", root, str(pid or 0), str(port), *names]
    done = reader.run(words, timeout_s=_TIMEOUT_S)
    if not done.out.rstrip().endswith("\nend"):
        problem = " ".join(done.err.split()) or "no output"
        return ProcessTree(
            trouble=f"its processes could not be read: {problem[-200:]} (exit status {done.code})"
        )
    tree = parse(done.out)
    if tree.leader and tree.processes:
        return tree
    gone = f"there is no process {pid}" if pid else f"no process of this user listens on port {port}"
    return ProcessTree(trouble=f"{gone}: it does not run here, or belongs to somebody else")


def parse(text: str) -> ProcessTree:
    """A process tree from the script's lines; pure."""
    rows: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        key, *values = line.split("\t")
        rows.setdefault(key, []).append(values)

    def of(key: str, pid: str) -> list[list[str]]:
        return [row[1:] for row in rows.get(key, []) if row[0] == pid]

    def process(pid: str, name: str) -> Process:
        limits, environment = of("memlock", pid), of("environment", pid)
        return Process(
            pid,
            name,
            memlock=parse_memlock([pid, *limits[0]]) if limits and limits[0][0] else None,
            variables={row[0]: row[1] for row in of("variable", pid)} if environment == [["read"]] else None,
            libraries=tuple(row[0] for row in of("library", pid)) if of("maps", pid) else None,
            listens=frozenset(socket(row[0]) for row in of("listen", pid)) if of("sockets", pid) else None,
            retitled=environment == [["overwritten"]],
        )

    return ProcessTree(
        leader=rows.get("leader", [[""]])[0][0],
        arguments=tuple("\t".join(row) for row in rows.get("argument", [])),
        processes=tuple(process(row[0], row[1]) for row in rows.get("process", [])),
    )


def socket(text: str) -> tuple[str, int]:
    """Address and port of /proc/net/tcp and tcp6: ``0100007F:1F90`` is 127.0.0.1 and 8080."""
    digits, _, port = text.partition(":")
    # The kernel prints 32-bit words in its own byte order.
    words = struct.pack(
        f"<{len(digits) // 8}I", *(int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
    )
    return str(ipaddress.ip_address(words)), int(port, 16)


def everywhere(addresses: set[str]) -> bool:
    """Whether one of them stands for all addresses of the host."""
    return not addresses.isdisjoint(_WILDCARDS)
