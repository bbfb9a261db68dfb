"""Performs drills one after the other: asks for consent, skips what cannot be performed, repeats."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from heteropd import ucx
from heteropd.config.drills import DrillEntry, Drills
from heteropd.config.validation import Settings
from heteropd.drills import lease, network, roles, starts
from heteropd.drills.baseline import Baseline, measure
from heteropd.drills.model import CannotBePerformed, DrillResult, Observation
from heteropd.drills.session import DrillSession
from heteropd.engine_api.client import EngineClient
from heteropd.errors import BadInput, Interrupted, KitError
from heteropd.plan.model import Plan
from heteropd.topology import Context, running

__all__ = ["chosen", "perform", "require_consent"]

DRILLS: Mapping[str, Callable[[DrillSession], None]] = {
    "lease-expired": lease.lease_expired,
    "decode-frozen": lease.decode_frozen,
    "partition": network.partition,
    "slow-link": network.slow_link,
    "decode-killed": roles.decode_killed,
    "router-killed": roles.router_killed,
    "engine-out-of-memory": roles.engine_out_of_memory,
    "prefill-killed-before": roles.prefill_killed_before,
    "prefill-killed-after": roles.prefill_killed_after,
    "prefill-alone": roles.prefill_alone,
    "ports-taken": starts.ports_taken,
    "disk-full": starts.disk_full,
}
"""Who performs which drill of env/drills.yaml."""


def chosen(drills: Drills, words: Sequence[str]) -> list[str]:
    """The names of the drills that are asked for. Raises BadInput for an unknown one."""
    known = ", ".join(drills.drills)
    if not words:
        raise BadInput("command line", "drill", "", "names no drill", f"say all, or some of: {known}")
    unknown = [word for word in words if word not in (*drills.drills, "all")]
    if unknown:
        raise BadInput("command line", "drill", unknown[0], "is not a drill", f"say all, or some of: {known}")
    return [name for name in drills.drills if name in words or "all" in words]


def require_consent(plan: Plan, drills: Drills, names: Sequence[str]) -> None:
    """Raise BadInput, saying what would be killed, where that is not a stand-in on this machine."""
    if plan.standin and not any(role.host.ssh for role in plan.roles):
        return
    victims: dict[str, str] = {}
    for name in names:
        if why_not(plan, drills.drills[name]) is None:
            for role in drills.drills[name].kills:
                victim = plan.of(role)[0]
                victims[victim.name] = f"{victim.name} on {victim.host.name}"
            if "hosts" in drills.drills[name].needs:
                both = [plan.of("prefill")[0].host.name, plan.of("decode")[0].host.name]
                victims[name] = f"the network between {' and '.join(both)}"
    what = "hardware" if not plan.standin else "other hosts"
    raise BadInput(
        "command line",
        "drill",
        " ".join(names),
        f"would break, on {what}: {', '.join(victims.values()) or 'nothing'}",
        "say yes=1 if that is meant",
    )


def why_not(plan: Plan, entry: DrillEntry) -> str | None:
    """Why a drill cannot be performed on this plan's topology, None if it can be tried."""
    if entry.instead:
        return entry.instead
    if plan.runtime not in entry.runtimes:
        return f"needs runtime={' or '.join(entry.runtimes)}"
    both = (plan.of("prefill")[0].host, plan.of("decode")[0].host)
    if "hosts" in entry.needs and (not all(host.ssh for host in both) or both[0].ssh == both[1].ssh):
        return "needs prefill and decode on hosts of their own, reached over ssh"
    if "hosts" in entry.needs and any(ucx.transports(engine.env).may_use_rdma for engine in plan.engines):
        return "RDMA goes past what a host's kernel drops or slows: do it at the switch"
    if "root" in entry.needs and os.geteuid() != 0:
        return "needs root on this machine"
    return None


def perform(
    names: Sequence[str], times: int, context: Context, settings: Settings, drills: Drills
) -> Iterator[DrillResult]:
    """Each drill ``times`` times, each result as it comes. What cannot be performed is skipped, and said.

    The topology is left whole after each drill, or a promise is broken and no further drill is performed.
    Raises KitError when the topology is not well to begin with.
    """
    plan = running(context).plan
    healthy: Baseline | None = None
    with EngineClient(context.clock) as client:
        for name in names:
            entry = drills.drills[name]
            reason = why_not(plan, entry)
            if reason is not None:
                yield _skipped(name, plan, context, reason)
                continue
            for number in range(times):
                of = f" ({number + 1} of {times})" if times > 1 else ""
                context.console.print(f"{name}{of}: {entry.title}", soft_wrap=True, markup=False)
                healthy = healthy or measure(plan, drills.asked, settings, client)
                stage = DrillSession(context, client, healthy, drills, entry)
                yield _performed(name, stage, plan)
                if _lost(context):
                    return


def _performed(name: str, stage: DrillSession, plan: Plan) -> DrillResult:
    began = stage.clock.now()
    why = None
    try:
        DRILLS[name](stage)
    except CannotBePerformed as reason:
        why = str(reason)
    except Interrupted:
        raise
    except KitError as problem:
        stage.saw("the drill", str(problem), good=False)
    broken = any(not observation.good for observation in stage.seen)
    return _result(
        name,
        plan,
        stage.context,
        status="broken" if broken else "skipped" if why else "held",
        seconds=round(stage.clock.now() - began, 1),
        why=why,
        seen=stage.seen,
        answered_s=_rounded(stage.answered_s),
        fixed_s=_rounded(stage.fixed_s),
    )


def _skipped(name: str, plan: Plan, context: Context, why: str) -> DrillResult:
    context.console.print(f"{name}: skipped, {why}", soft_wrap=True, markup=False)
    return _result(name, plan, context, status="skipped", why=why)


def _result(name: str, plan: Plan, context: Context, **seen: object) -> DrillResult:
    common = {
        "name": name,
        "case": plan.case,
        "runtime": plan.runtime,
        "standin": plan.standin,
        "hosts": len({role.host.name for role in plan.roles}),
        "at": context.clock.wall(),
    }
    return DrillResult.model_validate({**common, **seen})


def _lost(context: Context) -> bool:
    """Whether the topology does not run any more, so that further drills would show nothing."""
    try:
        running(context)
    except KitError as problem:
        context.console.print(f"no further drill: {problem}", soft_wrap=True, markup=False)
        return True
    return False


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def broken(results: Sequence[DrillResult]) -> list[Observation]:
    """Every promise that did not hold."""
    return [observation for result in results for observation in result.broken]
