"""Drills on the roles themselves: engines and the router die, or come back alone."""

from collections.abc import Callable

from heteropd.containers import faults
from heteropd.drills.model import CannotBePerformed
from heteropd.drills.session import DrillSession
from heteropd.engine_api.responses import EngineResponse
from heteropd.errors import KitError
from heteropd.plan.model import RolePlan
from heteropd.topology.probe import RoleProbe
from heteropd.topology.starting import starter

_TOKENS_BEFORE, _REQUESTS = 3, 5


def decode_killed(stage: DrillSession) -> None:
    """SIGKILL in the middle of a stream."""
    name = stage.first("decode").name
    _in_a_stream(stage, lambda: stage.kill(name))
    _afterwards(stage, name)


def router_killed(stage: DrillSession) -> None:
    """The same for the router; the engines must stay as they are."""
    engines = {role.name: (role.process, role.container) for role in stage.topology.roles}
    name = stage.plan.router.name
    _in_a_stream(stage, lambda: stage.kill(name))
    _afterwards(stage, name)
    now = {role.name: (role.process, role.container) for role in stage.topology.roles}
    changed = sorted(role for role in now if role != name and now[role] != engines[role])
    stage.saw("engines", f"restarted too: {', '.join(changed)}" if changed else "as before", good=not changed)


def engine_out_of_memory(stage: DrillSession) -> None:
    """A container's limit is lowered below what it uses; without limits, what the kernel would take: the
    largest process."""
    name = stage.first("decode").name
    box = stage.topology.role(name).container

    def fault() -> None:
        if box is None:
            stage.kill(name, largest=True)
            return
        try:
            limit = faults.starve(box)
        except KitError:
            stage.kill(name, largest=True)  # this container engine limits no memory
            return
        stage.fault(f"memory of {box.name} limited to {limit / 2**20:.0f} MiB, half of what it used")

    _in_a_stream(stage, fault)
    _afterwards(stage, name)


def prefill_killed_before(stage: DrillSession) -> None:
    """SIGKILL while the prefill computes a long prompt, and nothing is handed over.

    Metrics do not say that an engine is in the middle of one: half the time is waited that it took before.
    """
    prefill, known = stage.first("prefill"), stage.healthy.long
    before = stage.ask(prefill.url, known, max_tokens=1)
    waiting = stage.aside(lambda: stage.ask(stage.plan.router.url, known))
    stage.clock.sleep((before.ended - before.began) / 2)
    if waiting.done():
        raise CannotBePerformed("the prompt was done before the prefill could be killed")
    stage.kill(prefill.name)
    stage.judge("the prompt that it computed", known, waiting.result())
    _afterwards(stage, prefill.name)


def prefill_killed_after(stage: DrillSession) -> None:
    """SIGKILL when one request is handed over and being answered, and another's KV waits to be fetched."""
    prefill, waiting = stage.first("prefill"), stage.healthy.short[0]
    handed_over = stage.hand_over(waiting)
    _in_a_stream(stage, lambda: stage.kill(prefill.name))
    decode = stage.first("decode")
    stage.judge("KV that nobody had fetched", waiting, stage.ask(decode.url, waiting, handed_over))
    alone = stage.healthy.short[-1]
    stage.judge("the decode alone", alone, stage.ask(decode.url, alone))
    _afterwards(stage, prefill.name)


def prefill_alone(stage: DrillSession) -> None:
    """What somebody does who does not know the kit: ends the prefill and starts it with the same command."""
    prefill = stage.first("prefill")
    topology, context = stage.topology, stage.context
    again = starter(topology.plan, context, topology.id)
    box = topology.role(prefill.name).container
    stage.kill(prefill.name)
    if box is None:
        again.start(prefill.name)
    else:
        faults.inflict(box, "start")
    _until_healthy(stage, prefill)
    _until_healthy(stage, stage.plan.router)  # it takes a moment to find a worker again
    for _ in range(_REQUESTS):
        for known in stage.healthy.short:
            answer = stage.ask(stage.plan.router.url, known)
            stage.judge("requests to the prefill that is new alone", known, answer)
    stage.fix(prefill.name)


def _in_a_stream(stage: DrillSession, fault: Callable[[], None]) -> EngineResponse:
    """Do it when the stream has brought some tokens; judge what came of the stream."""
    known, done = stage.healthy.streamed, False

    def token(count: int) -> None:
        nonlocal done
        if count >= _TOKENS_BEFORE and not done:
            done = True
            fault()

    answer = stage.stream(known, token)
    if not done:
        raise CannotBePerformed(f"the stream did not come: {answer.short}")
    stage.judge("the stream", known, answer)
    return answer


def _afterwards(stage: DrillSession, name: str) -> None:
    stage.meanwhile()
    stage.named(name)
    stage.fix(name)


def _until_healthy(stage: DrillSession, role: RolePlan) -> None:
    began = stage.clock.now()
    with RoleProbe(stage.context.timeouts) as probe:
        while not (answer := probe.health(role)).ok:
            if stage.clock.now() - began > stage.context.timeouts.ready:
                raise CannotBePerformed(
                    f"{role.name} is not healthy with a prefill that is new alone: {answer.short}"
                )
            stage.clock.sleep(stage.context.timeouts.poll)
    stage.saw(role.name, "healthy", seconds=stage.clock.now() - began)
