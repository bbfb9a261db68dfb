"""While a level goes on: whether every role lives, and whether any engine computes."""

from heteropd.errors import KitError
from heteropd.proof.session import ProbeSession, Stalled
from heteropd.topology import Topology

_LOOK_S = 5.0  # a look costs an engine some milliseconds of the core it computes on


class Watch:
    """To be called again and again. ``quiet_s``: so long no counter of any engine may stand still."""

    def __init__(self, topology: Topology, probe: ProbeSession, quiet_s: float) -> None:
        self._topology, self._probe, self._quiet_s = topology, probe, quiet_s
        self._looked = self._since = probe.clock.now()
        self._seen: list[int | None] | None = None

    def __call__(self) -> None:
        """Raises KitError for a role that died, `Stalled` with the first cause where nothing moves."""
        now = self._probe.clock.now()
        if now - self._looked < min(_LOOK_S, self._quiet_s / 3):
            return
        self._looked = now
        if dead := dead_roles(self._topology):
            raise KitError(dead)
        if (work := self._probe.work_done()) != self._seen:
            self._seen, self._since = work, now
        elif now - self._since >= self._quiet_s:
            raise Stalled(self._probe.first_cause())


def dead_roles(topology: Topology) -> str:
    """A sentence with the roles that do not run any more; empty where all do."""
    dead = topology.dead()
    return f"{', '.join(dead)} died (`make logs role={dead[0]}`)" if dead else ""
