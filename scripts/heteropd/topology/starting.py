"""Starting roles of a topology one after the other, each written down as soon as it runs."""

from __future__ import annotations

from pathlib import Path

from heteropd.processes import shared_memory
from heteropd.processes.process_tree import marked
from heteropd.topology.context import Context
from heteropd.topology.starters import Starter
from heteropd.topology.state import Topology, save
from heteropd.topology.waiting import Waiting


class Starting:
    """A topology whose roles are being started; ``topology`` is what is recorded of it."""

    def __init__(self, topology: Topology, context: Context, starter: Starter) -> None:
        self.topology = topology
        self._context, self._starter = context, starter

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
        pids = {one.pid for one in marked(self._context.state_dir, self.topology.id)}
        segments = shared_memory.segments(pids.union(*(role.pids() for role in self.topology.roles)))
        update = {"phase": "up", "ready_after_s": round(seconds, 3), "segments": sorted(segments)}
        self.record(waiting.topology.model_copy(update=update))
        return self.topology

    def record(self, topology: Topology) -> None:
        self.topology = topology
        save(topology, self._context.state_dir)


def keep_previous(log: Path) -> None:
    """Put a role's log aside for the one that it is about to write."""
    if log.exists():
        log.replace(log.with_name(f"{log.stem}.previous.log"))
