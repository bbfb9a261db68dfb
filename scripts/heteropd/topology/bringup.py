"""`up`: from a plan to a topology that answers, or to nothing at all."""

import uuid
from contextlib import ExitStack
from pathlib import Path

from heteropd.console.progress import Progress
from heteropd.errors import BadInput, KitError
from heteropd.plan.model import Plan
from heteropd.processes.record import forget
from heteropd.processes.sweep import runs_on, sweep
from heteropd.topology.checks import require_startable
from heteropd.topology.context import Context
from heteropd.topology.interrupt_scope import InterruptScope
from heteropd.topology.lock import locked
from heteropd.topology.probe import RoleProbe
from heteropd.topology.reuse import reconcile_existing
from heteropd.topology.starting import Starting, keep_previous, starter
from heteropd.topology.state import Topology, save, standin_notice
from heteropd.topology.waiting import Waiting


def up(plan: Plan, context: Context, *, scope: InterruptScope | None = None) -> Topology:
    """Start the plan and wait until a completion comes through its router; reuse it if it runs already.

    Raises BadInput (ports in use, a different topology runs, another command is at work),
    MissingPrerequisite (memory, disk, programs), TopologyFailed and Interrupted. After any of them nothing
    that this call started is running.
    """
    with ExitStack() as stack:
        scope = scope or stack.enter_context(InterruptScope(context))
        stack.enter_context(locked(context.state_dir, "up", context.clock))
        running = reconcile_existing(plan, context)
        if running is not None:
            return running
        require_startable(plan, context)
        return _BringUp(plan, context, scope).run()


class _BringUp:
    def __init__(self, plan: Plan, context: Context, scope: InterruptScope) -> None:
        self._plan, self._context, self._scope = plan, context, scope
        topology_id = uuid.uuid4().hex[:12]
        self._starter = starter(plan, context, topology_id)
        topology = Topology.of(plan, topology_id, context)
        self._starting = Starting(topology, context, self._starter)

    def run(self) -> Topology:
        context, topology = self._context, self._starting.topology
        self._announce()
        for role in topology.roles:
            keep_previous(role.log)
        try:
            # The intention first: from here on `down` knows what to look for, whatever happens to us.
            save(topology, context.state_dir)
            self._scope.arm(topology.id, topology.leftovers)
            _make_own(context.tmp_root)
            return self._run()
        except BaseException:
            leftovers = self._starting.topology.leftovers
            missed = sweep(context.state_dir, topology.id, context.clock, leftovers)
            if missed:  # its record stays: `down` knows then what to look for
                context.say(runs_on(missed), "yellow")
            else:
                forget(context.state_dir, topology.id)
            raise

    def _run(self) -> Topology:
        context, plan, starting = self._context, self._plan, self._starting
        with (
            RoleProbe(context.timeouts) as probe,
            Progress(context.console, context.timeouts.heartbeat) as progress,
        ):
            waiting = Waiting(context, starting.topology, probe)
            for role in plan.engines:
                starting.start(role.name, waiting)
            starting.start(plan.router.name, waiting)
            seconds = waiting.until_answering(progress)
        topology = starting.came_up(waiting, seconds)
        context.console.print(f"{plan.case} is up at {topology.url} after {seconds:.1f} s")
        return topology

    def _announce(self) -> None:
        say = self._context.say
        if self._plan.standin:
            say(standin_notice(self._plan), "yellow")
        if names := ", ".join(self._starter.dropped()):
            say(f"not passed on from your environment: {names} (what engines need is in env/)")


def _make_own(folder: Path) -> None:
    """Make the folder. In /tmp its name can be guessed: whoever made it first must not own what is in it."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        problem = "is in the way of the roles' temporary files"
        raise BadInput(str(folder), None, None, problem, "remove it") from None
    except OSError as problem:
        raise KitError(f"{folder} cannot be made ({problem.strerror}); free or repair that place") from None
