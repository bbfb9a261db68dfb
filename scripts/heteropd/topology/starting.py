"""Starting roles of a topology one after the other, each written down as soon as it runs."""

from contextlib import suppress
from pathlib import Path

from heteropd.processes import shared_memory
from heteropd.processes.process_tree import tagged
from heteropd.topology.context import Context
from heteropd.topology.starters import Starter
from heteropd.topology.state import StateNotWritten, Topology, save
from heteropd.topology.waiting import Waiting


class Starting:
    """A topology whose roles are being started; ``topology`` is what is recorded of it.

    ``strict``: raise StateNotWritten at once; else it is kept as ``unwritten`` until a record succeeds.
    """

    def __init__(
        self, topology: Topology, context: Context, starter: Starter, *, strict: bool = True
    ) -> None:
        self.topology = topology
        self.unwritten: StateNotWritten | None = None
        self._context, self._starter, self._strict = context, starter, strict

    def start(self, name: str, waiting: Waiting) -> None:
        """Start a role. Raises what its `Starter` raises."""
        context = self._context
        started = self._starter.start(name)
        role = waiting.topology.role(name)
        role = role.model_copy(update={**started, "started": context.clock.wall()})
        self.record(waiting.topology.with_role(role))
        waiting.started(self.topology, name)

    def came_up(self, waiting: Waiting, seconds: float) -> Topology:
        """Record that the topology answers, ``seconds`` after the first start."""
        pids = {process.pid for process in tagged(self._context.state_dir, self.topology.id)}
        segments = shared_memory.segments(pids.union(*(role.pids() for role in self.topology.roles)))
        update = {"phase": "up", "ready_after_s": round(seconds, 3), "segments": sorted(segments)}
        self.record(waiting.topology.model_copy(update=update))
        return self.topology

    def record(self, topology: Topology) -> None:
        """Write the state down."""
        self.topology, self.unwritten = topology, None
        try:
            save(topology, self._context.state_dir)
        except StateNotWritten as problem:
            if self._strict:
                raise
            self.unwritten = problem


def keep_previous(log: Path) -> None:
    """Put a role's log aside for the one that it is about to write."""
    with suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.stem}.previous.log"))
