"""`restart`: a role of the running topology anew, with whatever would not survive that it alone is new."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial

from heteropd.console.progress import Progress
from heteropd.containers import memory, stopping
from heteropd.errors import BadInput, Interrupted, MissingPrerequisite, TopologyFailed
from heteropd.processes import shared_memory, terminate
from heteropd.topology.context import Context
from heteropd.topology.lock import locked
from heteropd.topology.probe import RoleProbe
from heteropd.topology.starters import starter
from heteropd.topology.starting import Starting, keep_previous
from heteropd.topology.state import RoleState, Topology, load
from heteropd.topology.teardown import members
from heteropd.topology.waiting import Waiting

_WHY = (
    "engines keep connections and KV addresses of those that they have spoken with, and would go on using "
    "them (vllm #49238, #50047)"
)


def restart(name: str, context: Context) -> Topology:
    """Restart a role, and wait until a completion comes through the router. Same plan, same topology.

    With an engine go all engines: each has spoken with those of the other kind. Roles that are dead go too.
    What need not be restarted is left alone, also when this is interrupted or fails: then the topology is
    recorded as starting, and `restart` or `down` go on from there. Raises BadInput for a role that is not
    in the plan, MissingPrerequisite when nothing runs, TopologyFailed and Interrupted.
    """
    with locked(context.state_dir, "restart", context.clock):
        topology = _found(context)
        names = affected(topology, name)
        begun = _Restart(topology, names, context)  # refuses what cannot work while everything still runs
        try:
            context.console.print(_said(topology, name, names), soft_wrap=True, markup=False, highlight=False)
            return begun.run()
        except KeyboardInterrupt:
            raise Interrupted(_afterwards("interrupted", name)) from None
        except TopologyFailed as failed:
            raise TopologyFailed(_afterwards(str(failed), name), failed.log_tail, failed.hint) from None


def affected(topology: Topology, name: str) -> list[str]:
    """The roles that are restarted with ``name``, in start order. Raises BadInput for an unknown one."""
    known = [role.name for role in topology.plan.roles]
    if name not in known:
        problem = f"is no role of {topology.plan.case}"
        raise BadInput("command line", "role", name, problem, f"choose one of: {', '.join(known)}")
    wanted = {name, *topology.dead()}
    engines = {role.name for role in topology.plan.engines}
    if wanted & engines:
        wanted |= engines
    return [one for one in known if one in wanted]


def _found(context: Context) -> Topology:
    topology = load(context.state_dir)
    if topology is None:
        raise MissingPrerequisite("nothing is running", "start a topology: `make case1` or `make case2`")
    if len(topology.dead()) == len(topology.roles):
        case = topology.plan.case
        raise MissingPrerequisite(f"no role of {case} runs any more", f"start it anew: `make {case}`")
    return topology


def _said(topology: Topology, name: str, names: Sequence[str]) -> str:
    others = [one for one in names if one != name]
    if not others:
        return f"restarting {name} alone: nothing else keeps what it knew"
    dead = [one for one in others if one in topology.dead()]
    engines = [one for one in others if one not in dead]
    why = [f"{', '.join(dead)} too: dead"] if dead else []
    why += [f"{', '.join(engines)} too: {_WHY}"] if engines else []
    return f"restarting {name}; {'; '.join(why)}"


def _afterwards(what: str, name: str) -> str:
    return (
        f"{what}; roles that were not restarted run on: `make restart role={name}` again, or `make down` "
        "ends all"
    )


class _Restart:
    def __init__(self, topology: Topology, names: Sequence[str], context: Context) -> None:
        self._context, self._names = context, names
        self._before = topology
        self._starter = starter(topology.plan, context, topology.id)
        self._starting = Starting(topology, context, self._starter)

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
        said = f"{', '.join(self._names)} restarted: {topology.url} answers after {seconds:.1f} s"
        context.console.print(said, soft_wrap=True)
        return topology

    def _end(self, roles: Sequence[RoleState]) -> None:
        """End these roles, the router first, and remove what they leave."""
        context, topology = self._context, self._before
        boxes = [role.container for role in roles if role.container]
        pids = {one.pid for one in members(context, topology, roles)}
        segments = shared_memory.segments(pids.union(*(role.pids() for role in roles)))
        elsewhere = memory.used(boxes)
        router = topology.plan.router.name
        for step in (
            [one for one in roles if one.name == router],
            [one for one in roles if one.name != router],
        ):
            terminate.end(partial(members, context, topology, step), context.clock, context.timeouts.stop)
            stopping.stop([one.container for one in step if one.container], context.timeouts.stop)
        for role in roles:
            role.refresh_log()
            keep_previous(role.log)
            shutil.rmtree(context.tmp_root / role.name, ignore_errors=True)
        for box in boxes:
            stopping.remove(box)
        memory.remove(elsewhere, topology.images)
        shared_memory.remove_unused({*topology.segments, *segments})
