"""What a drill works with: the running topology, its healthy answers, faults, and what was seen."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

from heteropd.config.drills import DrillEntry, Drills
from heteropd.config.types import Role
from heteropd.containers import faults, lifecycle
from heteropd.drills.baseline import Baseline, ReferenceAnswer
from heteropd.drills.model import CannotBePerformed, Observation
from heteropd.engine_api.client import COMPLETIONS, Endpoint, EngineClient
from heteropd.engine_api.requests import HANDOVER, KEEP_FOR_DECODE, Json
from heteropd.engine_api.responses import EngineResponse
from heteropd.errors import Interrupted, KitError
from heteropd.findings import Status
from heteropd.plan.model import Plan, RolePlan
from heteropd.processes import shared_memory
from heteropd.processes.identity import Identity, send
from heteropd.processes.process_tree import descendants, tagged
from heteropd.proof.concurrency import side_by_side
from heteropd.system import Clock
from heteropd.topology import Context, Topology, load, restart, running, status
from heteropd.topology.teardown import members

T = TypeVar("T")

_LOOK_S = 0.05


class DrillSession:
    """One drill on one topology. Everything that is seen is told at once and kept in ``seen``."""

    def __init__(
        self,
        context: Context,
        client: EngineClient,
        healthy: Baseline,
        drills: Drills,
        entry: DrillEntry,
    ) -> None:
        self.context, self.healthy = context, healthy
        self._client = client
        self.drills, self.entry = drills, entry
        self.seen: list[Observation] = []
        self.answered_s: float | None = None
        self.fixed_s: float | None = None
        self._fault: float | None = None
        self._segments = shared_memory.segments(self._pids(running(context)))

    @property
    def topology(self) -> Topology:
        return running(self.context)

    @property
    def plan(self) -> Plan:
        return self._loaded().plan

    @property
    def clock(self) -> Clock:
        return self.context.clock

    @property
    def bound_s(self) -> float:
        assert self.entry.bound_s is not None, "a drill that is performed has one"
        return self.entry.bound_s

    def first(self, role: Role) -> RolePlan:
        return self.plan.of(role)[0]

    def endpoint(self, role: Role) -> Endpoint:
        first = self.first(role)
        return Endpoint(self._client, first.name, first.url, self.healthy.patience_s)

    def saw(self, what: str, says: str, *, good: bool = True, seconds: float | None = None) -> None:
        """Write something down, and say it."""
        status: Status = "PASS" if good else "FAIL"
        self.seen.append(
            Observation(
                id=what, status=status, text=says, seconds=seconds if seconds is None else round(seconds, 2)
            )
        )
        after = "" if seconds is None else f" after {seconds:.1f} s"
        self.context.console.print(
            f"  {'' if good else 'BROKEN: '}{what}: {says}{after}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )

    # Faults

    def fault(self, says: str) -> None:
        """From now on it counts how long answers take."""
        self._fault = self.clock.now()
        self.saw("fault", says)

    def kill(self, name: str, *, largest: bool = False) -> None:
        """SIGKILL a role: its container, or all of its processes at once; with ``largest`` the one alone that
        takes the most memory, as the kernel chooses when that is out."""
        role = self._loaded().role(name)
        if role.container is not None and largest:
            victim = faults.kill_largest(role.container)
            self.fault(f"{victim} of {role.container.name} killed")
            return
        if role.container is not None:
            faults.inflict(role.container, "kill")
            self.fault(f"{role.container.name} killed")
            return
        victims = members(self.context, self._loaded(), [role])
        if largest:
            victims = set(sorted(victims, key=_resident)[-1:])
        killed = [process for process in victims if send(process, signal.SIGKILL)]
        if not killed:
            raise CannotBePerformed(f"{name} was gone before it could be killed")
        self.fault(f"{len(killed)} of the processes of {name} killed")

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Meanwhile the role does not run: its container is paused, or its processes are stopped."""
        topology = self._loaded()
        role = topology.role(name)
        stopped = members(self.context, topology, [role])
        self.saw(name, "does not run for a while")
        try:
            if role.container is not None:
                faults.inflict(role.container, "pause")
            for process in stopped:
                send(process, signal.SIGSTOP)
            yield
        finally:
            if role.container is not None:
                faults.inflict(role.container, "unpause")
            for process in stopped:
                send(process, signal.SIGCONT)

    # Requests

    def ask(
        self,
        url: str,
        known: ReferenceAnswer,
        extra: Json | None = None,
        *,
        max_tokens: int | None = None,
        patient: bool = False,
    ) -> EngineResponse:
        """Ask for a known answer; what has none within twice the bound is late. ``patient``: not sooner than
        `validate` would give up, for what is no test of the bound."""
        body = {**self.healthy.body(known, max_tokens=max_tokens), **(extra or {})}
        limit = max(self._patience(), self.healthy.patience_s) if patient else self._patience()
        return self._client.complete(url, body, limit_s=limit)

    def stream(self, known: ReferenceAnswer, on_token: Callable[[int], None]) -> EngineResponse:
        """The same from the router, as a stream."""
        url, body = self.plan.router.url + COMPLETIONS, self.healthy.body(known)
        return self._client.stream(url, body, limit_s=self._patience(), on_token=on_token)

    def hand_over(self, known: ReferenceAnswer) -> Json:
        """Have the prefill compute a prompt as a router does; what the decode is to be asked with."""
        answer = self.ask(self.first("prefill").url, known, {HANDOVER: KEEP_FOR_DECODE}, max_tokens=1)
        params = answer.json.get(HANDOVER)
        if not params:
            raise CannotBePerformed(f"the prefill hands nothing over: {answer.short}")
        return {HANDOVER: params}

    def aside(self, work: Callable[[], T]) -> Future[T]:
        """Do something beside the drill."""
        return side_by_side([work], 1)[0]

    def judge(self, what: str, known: ReferenceAnswer, answer: EngineResponse) -> None:
        """The promise: not wrong, and within the bound, counted from the fault if that came later than the
        request."""
        took = answer.ended - max(answer.began, self._fault or answer.began)
        self.answered_s = max(took, self.answered_s or 0.0)
        self.saw(what, answer.short, good=answer.kind != "late" and took <= self.bound_s, seconds=took)
        wrong = self.healthy.differs(known, answer) if answer.steps else None
        if wrong:
            self.saw(what, f"not the healthy answer: {wrong}", good=False)

    def meanwhile(self) -> None:
        """New requests while the topology is broken: right or an error, in time."""
        for known in self.healthy.short:
            self.judge("a new request", known, self.ask(self.plan.router.url, known))

    # Afterwards

    def named(self, name: str) -> None:
        """`status` must say that the role is dead or ill, within the bound."""
        began = self.clock.now()
        while True:
            report = status(self.context)
            role = next(role for role in report.roles if role.name == name)
            if role.state == "dead" or role.health != "ok":
                self.saw("status", f"{report.state}: {name} {role.state} {role.health}".strip())
                return
            if self.clock.now() - began > self.bound_s:
                self.saw("status", f"does not say that {name} is dead", good=False)
                return
            self.clock.sleep(_LOOK_S)

    def fix(self, name: str) -> None:
        """`restart` must bring the answers back, and nothing of the old roles may stay."""
        began = self.clock.now()
        try:
            restart(name, self.context)
        except Interrupted:
            raise
        except KitError as problem:
            self.saw("restart", str(problem), good=False)
            return
        self.whole("after the restart")
        self.fixed_s = self.clock.now() - began
        self._nothing_left()

    def whole(self, when: str) -> bool:
        """Every known answer must come, and be right; how soon, is no question of the fault any more."""
        for known in (*self.healthy.short, self.healthy.long):
            answer = self.ask(self.plan.router.url, known, patient=True)
            wrong = self.healthy.differs(known, answer) if answer.ok else answer.short
            if wrong:
                self.saw(when, wrong, good=False)
                return False
        self.saw(when, "every known answer is right")
        return True

    def _nothing_left(self) -> None:
        topology = self._loaded()
        ours: set[Identity] = set()
        for role in topology.roles:
            ours |= descendants(role.process) if role.process else set()
        strays = tagged(self.context.state_dir, topology.id) - ours
        left = [f"pid {process.pid}" for process in strays]
        boxes = {role.container for role in topology.roles if role.container}
        for url in topology.docker_hosts:
            labelled = lifecycle.find(url).items()
            mine = {ref for ref, labels in labelled if labels.get(lifecycle.TOPOLOGY) == topology.id}
            left += [ref.name for ref in mine - boxes if ref.id not in {box.id for box in boxes}]
        used = shared_memory.segments(psutil.pids())
        left += sorted(path for path in self._segments - used if Path(path).exists())
        self.saw("left behind", ", ".join(left) or "nothing", good=not left)

    def _loaded(self) -> Topology:
        topology = load(self.context)
        if topology is None:
            raise KitError("the topology was ended meanwhile")
        return topology

    def _pids(self, topology: Topology) -> set[int]:
        pids = {process.pid for process in tagged(self.context.state_dir, topology.id)}
        return pids.union(*(role.pids() for role in topology.roles))

    def _patience(self) -> float:
        return 2 * self.bound_s


def _resident(process: Identity) -> int:
    """Bytes of memory; 0 for a process that has ended."""
    try:
        return int(psutil.Process(process.pid).memory_info().rss)
    except psutil.Error:
        return 0
