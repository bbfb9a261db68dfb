"""`restart`: a role of the running topology anew, with whatever would not survive that it alone is new."""

import shutil
from collections.abc import Sequence

from heteropd.console.progress import Progress
from heteropd.containers import stopping
from heteropd.errors import BadInput, Interrupted, KitError, MissingPrerequisite, TopologyFailed
from heteropd.processes import shared_memory
from heteropd.topology.context import Context
from heteropd.topology.lock import locked
from heteropd.topology.probe import RoleProbe
from heteropd.topology.starting import Starting, keep_previous, starter
from heteropd.topology.state import RoleState, StateNotWritten, Topology, require
from heteropd.topology.teardown import end_roles
from heteropd.topology.waiting import Waiting

_WHY = (
    "engines keep connections and KV addresses of those that they have spoken with, and would go on using "
    "them (vllm #49238, #50047)"
)


def restart(name: str, context: Context) -> Topology:
    """Restart a role, and wait until a completion comes through the router. Same plan, same topology.

    With an engine go all engines: each has spoken with those of the other kind. Roles that are dead go too.
    What need not be restarted is left alone, also when this is interrupted or fails: then the topology is
    recorded as starting, and `restart` or `down` go on from there. A state that cannot be written (a full
    disk) keeps nothing from being ended and started, and is said at the end.

    Raises BadInput for a role that is not in the plan, MissingPrerequisite when nothing runs, TopologyFailed
    and Interrupted.
    """
    with locked(context.state_dir, "restart", context.clock, ending=True):
        topology = _recorded(context)
        names = affected(topology, name)
        begun = _Restart(topology, names, context)  # refuses what cannot work while everything still runs
        try:
            context.say(_why(topology, name, names))
            return begun.run()
        except KeyboardInterrupt:
            raise Interrupted(_afterwards("interrupted", name)) from None
        except TopologyFailed as failed:
            raise TopologyFailed(_afterwards(str(failed), name), failed.log_tail, failed.hint) from None
        except StateNotWritten as full:
            raise KitError(_afterwards(f"{', '.join(names)} restarted, but {full}", name)) from None


def affected(topology: Topology, name: str) -> list[str]:
    """The roles that are restarted with ``name``, in start order. Raises BadInput for an unknown one."""
    known = [role.name for role in topology.plan.roles]
    if name not in known:
        problem = f"is not a role of {topology.plan.case}"
        raise BadInput("command line", "role", name, problem, f"choose one of: {', '.join(known)}")
    chosen = {name, *topology.dead()}
    engines = {role.name for role in topology.plan.engines}
    if chosen & engines:
        chosen |= engines
    return [role for role in known if role in chosen]


def _recorded(context: Context) -> Topology:
    topology = require(context.state_dir)
    if len(topology.dead()) == len(topology.roles):
        case = topology.plan.case
        raise MissingPrerequisite(f"no role of {case} runs any more", f"start it anew: `make {case}`")
    return topology


def _why(topology: Topology, name: str, names: Sequence[str]) -> str:
    """What is restarted, and why more than was named."""
    others = [role for role in names if role != name]
    if not others:
        return f"restarting {name} alone: nothing else keeps what it knew"
    dead = [role for role in others if role in topology.dead()]
    engines = [role for role in others if role not in dead]
    reasons = [f"{', '.join(dead)} too: dead"] if dead else []
    reasons += [f"{', '.join(engines)} too: {_WHY}"] if engines else []
    return f"restarting {name}; {'; '.join(reasons)}"


def _afterwards(what: str, name: str) -> str:
    left = "roles that were not restarted run on"
    return f"{what}; {left}: `make restart role={name}` again, or `make down` ends all"


class _Restart:
    def __init__(self, topology: Topology, names: Sequence[str], context: Context) -> None:
        self._context, self._names = context, names
        self._before = topology
        begun = starter(topology.plan, context, topology.id)
        self._starting = Starting(topology, context, begun, strict=False)

    def run(self) -> Topology:
        context, starting = self._context, self._starting
        clean = {"process": None, "container": None, "started": None, "healthy_after_s": None}
        topology = starting.topology.model_copy(update={"phase": "starting"})
        starting.record(topology)  # the intention first, as in a bring-up
        self._end([topology.role(name) for name in self._names])
        for name in self._names:
            topology = topology.with_role(topology.role(name).model_copy(update=clean))
        starting.record(topology)
        with (
            RoleProbe(context.timeouts) as probe,
            Progress(context.console, context.timeouts.heartbeat) as progress,
        ):
            waiting = Waiting(context, topology, probe)
            for role in topology.roles:
                if role.name not in self._names:
                    waiting.started(topology, role.name)  # it is to stay alive meanwhile
            for name in self._names:
                starting.start(name, waiting)
            seconds = waiting.until_answering(progress)
        topology = starting.came_up(waiting, seconds)
        if starting.unwritten:
            raise starting.unwritten
        context.say(f"{', '.join(self._names)} restarted: {topology.url} answers after {seconds:.1f} s")
        return topology

    def _end(self, roles: Sequence[RoleState]) -> None:
        """End these roles, the router first, and remove what they leave; their logs are put aside."""
        context, topology = self._context, self._before
        ended = end_roles(context, topology, roles)
        for role in roles:
            keep_previous(role.log)
            shutil.rmtree(context.tmp_root / role.name, ignore_errors=True)
            if role.container:
                stopping.remove(role.container)
        stopping.remove_segments(ended.remote_segments, topology.images)
        shared_memory.remove_unused({*topology.segments, *ended.segments})
