"""The processes of one benchmark: tagged, watched, and ended by identity whatever happens to us."""

import os
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import psutil

from heteropd.bench.workspace import BenchWorkspace
from heteropd.errors import KitError
from heteropd.plan.environment import KEEPS_ENVIRONMENT, child_environment
from heteropd.processes import shared_memory, terminate, watchdog
from heteropd.processes.identity import Identity, alive, identify
from heteropd.processes.launcher import exit_status, temporary_root
from heteropd.processes.parent import follow_parent
from heteropd.processes.process_tree import tag, tagged

GRACE_S = 5.0


@dataclass(frozen=True)
class Child:
    """A process that a benchmark started, and where it writes."""

    name: str
    process: Identity
    log: Path

    def last_line(self) -> str:
        """What it wrote last."""
        return _last_line(self.log)

    def cpu_s(self) -> float:
        """CPU seconds that it and its children have used; 0 when it is gone."""
        return cpu_s([self.process.pid])


class Children:
    """Starts processes and ends them all when the ``with`` block ends; a guard does it when we cannot."""

    def __init__(self, name: str, workspace: BenchWorkspace) -> None:
        self.folder, self.clock = workspace.folder(name).resolve(), workspace.clock
        self._runner = workspace.runner
        self._tmp = temporary_root(self.folder)
        self._id = uuid4().hex[:12]
        self.started: list[Child] = []
        self._followed = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tmp.mkdir(mode=0o700, exist_ok=True)
        self._followed = follow_parent()
        watchdog.start(self.folder, self._id, self._runner, os.environ)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        shutil.rmtree(self._tmp, ignore_errors=True)
        watchdog.stop(self.folder, self._id)
        follow_parent(self._followed)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        places: Mapping[str, str] | None = None,
    ) -> Child:
        """Start one process; its log is ``NAME.log`` in the folder.

        The child's environment is ours, less what would change an engine, plus ``env`` (see
        `heteropd.plan.environment`); its temporary files go when we end. Raises KitError when the program is
        missing.
        """
        log = self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        ours = {**tag(self._id, self.folder), "PYTHONUNBUFFERED": "1", "TMPDIR": str(self._tmp)}
        extra = {**ours, **KEEPS_ENVIRONMENT}
        variables = child_environment(env or {}, os.environ, places or {}, extra, ["127.0.0.1"]).variables
        try:
            pid = self._runner.spawn(argv, env=variables, log=log, cwd=self.folder)
        except OSError as problem:
            raise KitError(f"bench: {argv[0]} cannot be run ({problem.strerror})") from None
        process = identify(pid)
        if process is None:
            raise _died(name, log)
        child = Child(name, process, log)
        self.started.append(child)
        return child

    def forget(self, child: Child) -> None:
        """Stop expecting a child to live: it was meant to end."""
        self.started.remove(child)

    def check(self) -> None:
        """Raise KitError with the last line of a child that has died."""
        for child in self.started:
            if not alive(child.process):
                raise _died(child.name, child.log)

    def end(self) -> None:
        """End everything that was started and remove shared memory that nobody uses any more."""
        segments = shared_memory.segments(process.pid for process in self._tagged())
        left = terminate.end(self._tagged, self.clock, GRACE_S).survivors
        shared_memory.remove_unused(segments)
        for child in self.started:
            exit_status(child.process)
        self.started.clear()
        if left:
            raise KitError(
                f"bench: processes would not end: {', '.join(str(process.pid) for process in left)}"
            )

    def _tagged(self) -> set[Identity]:
        return tagged(self.folder, self._id)


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of processes and all below them, with those that they have seen end."""
    return _sum(pids, lambda process: sum(process.cpu_times()[:4]))


def memory_mib(pids: Iterable[int]) -> float:
    """Memory of processes and all below them that each shares with nobody."""
    return _sum(pids, lambda process: process.memory_full_info().uss) / 2**20


def _sum(pids: Iterable[int], figure: Callable[[psutil.Process], float]) -> float:
    """Over each process once; one that is gone counts for nothing."""
    processes: dict[int, psutil.Process] = {}
    total = 0.0
    for pid in pids:
        with suppress(psutil.Error):
            top = psutil.Process(pid)
            processes |= {process.pid: process for process in [top, *top.children(recursive=True)]}
    for process in processes.values():
        with suppress(psutil.Error):
            total += figure(process)
    return total


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that nothing listens on now. They are not reserved: use them soon."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listening in sockets:
            listening.bind(("127.0.0.1", 0))
        return [int(listening.getsockname()[1]) for listening in sockets]


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").splitlines() or ["it wrote nothing"])[-1]


def _died(name: str, log: Path) -> KitError:
    return KitError(f"bench: {name} died: {_last_line(log)} (all of it: {log})")
