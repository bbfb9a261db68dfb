"""What is there already when a plan is to be started: take it, refuse, or clear it away."""

from collections.abc import Iterator

from heteropd.containers import docker_host, lifecycle, stopping
from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.plan.model import Plan
from heteropd.processes import watchdog
from heteropd.processes.identity import boot_id
from heteropd.processes.process_tree import tagged
from heteropd.processes.record import forget
from heteropd.processes.sweep import clean, runs_on, sweep
from heteropd.topology.context import Context
from heteropd.topology.probe import RoleProbe
from heteropd.topology.state import Topology, load, save


def reconcile_existing(plan: Plan, context: Context) -> Topology | None:
    """The running topology if it is this very plan and healthy; None once there is room for a new one.

    What is broken or stale is cleared away, and said. Raises BadInput when a different topology runs well.
    """
    try:
        found = load(context.state_dir)
    except BadInput as unreadable:
        _clear(context, None, str(unreadable))
        return None
    if found is None and plan.runtime == "docker":
        found = adopted(plan, context)
    if found is None:
        lost = len(tagged(context.state_dir))
        if lost:
            _clear(context, None, f"{lost} processes of a lost topology")
        clean(context.leftovers)
        return None
    _require_answers(found, plan)
    trouble = _trouble(found)
    if trouble is not None:
        _clear(context, found, trouble)
        return None
    if found.fingerprint != plan.fingerprint():
        what = ", ".join(differences(found.plan, plan))
        problem = f"differs from this plan: {what}"
        raise BadInput("running topology", None, None, problem, "end it first: `make down`")
    with RoleProbe(context.timeouts) as probe:
        answers = {role.name: probe.health(role) for role in plan.roles}
    unhealthy = [f"{name}: {answer.short}" for name, answer in answers.items() if not answer.ok]
    if unhealthy:
        _clear(context, found, f"the same plan, but not healthy: {'; '.join(unhealthy)}")
        return None
    context.console.print(f"{found.plan.case} is running already, unchanged, at {found.url}")
    return found


def _require_answers(found: Topology, plan: Plan) -> None:
    """Raise MissingPrerequisite for a topology that may run well on a host that does not answer: it is not
    cleared away for that, unless the plan needs none of its hosts and nothing else of it runs."""
    away = found.away()
    wanted = set(docker_host.of_plan(plan)) & set(away)
    if away and (wanted or len(found.dead()) < len(found.roles)):
        where, why = next(iter(away.items()))
        problem = f"{found.plan.case} was started on {where}, which does not answer: {why}"
        fix = "fix the way to it; or `make down` first, which ends the rest"
        raise MissingPrerequisite(problem, fix)


def _trouble(found: Topology) -> str | None:
    dead = found.dead()
    if found.boot_id != boot_id() and any(role.process for role in found.roles):
        return "stale state: from before this machine was started"
    if len(dead) == len(found.roles):
        return "stale state: none of its processes runs any more"
    if found.phase != "up":
        return "a bring-up that did not finish"
    if dead:
        return f"a broken topology: {', '.join(dead)} {'is' if len(dead) == 1 else 'are'} dead"
    return None


def adopted(plan: Plan, context: Context) -> Topology | None:
    """The topology of containers that run this very plan although its state is lost; others are removed.

    Raises MissingPrerequisite when a Docker host does not answer.
    """
    urls = docker_host.of_plan(plan)
    for url in urls:
        docker_host.connect(url=url).close()
    found = {ref: labels for url in urls for ref, labels in lifecycle.find(url, context.state_dir).items()}
    roles = {labels.get(lifecycle.ROLE, ""): ref for ref, labels in found.items() if lifecycle.alive(ref)}
    ours = {labels.get(lifecycle.FINGERPRINT) for labels in found.values()} == {plan.fingerprint()}
    if ours and set(roles) == {role.name for role in plan.roles} and len(found) == len(roles):
        topology = Topology.of(plan, next(iter(found.values()))[lifecycle.TOPOLOGY], context, roles)
        save(topology, context.state_dir)
        context.console.print(f"adopted the containers of {plan.case}, whose state was lost")
        return topology
    if found:
        gone = stopping.sweep(urls, context.state_dir, None)
        context.console.print(f"cleared: {gone.removed} lost containers")
    return None


def _clear(context: Context, found: Topology | None, why: str) -> None:
    context.say(f"cleared: {why}")
    watchdog.stop(context.state_dir)
    missed = sweep(context.state_dir, None, context.clock, found.leftovers if found else context.leftovers)
    if found:  # another checkout may have started it
        stopping.sweep(found.docker_hosts, context.state_dir, found.id)
    if missed:
        context.say(runs_on(missed), "yellow")
    forget(context.state_dir, None)


_SIMPLE = ("case", "pins", "variant", "runtime", "model", "model_source", "agreed_block_size")
_ABSENT = "(none)"


def differences(old: Plan, new: Plan, limit: int = 5) -> list[str]:
    """What changed, as ``name old -> new``: parameters first; details of roles only if nothing else did."""
    changes = [
        f"{name} {getattr(old, name)} -> {getattr(new, name)}"
        for name in _SIMPLE
        if getattr(old, name) != getattr(new, name) and name not in old.parameters
    ]
    changes += list(_changes("", dict(old.parameters), dict(new.parameters)))
    if not changes:
        changes = list(_changes("", old.model_dump(mode="json"), new.model_dump(mode="json")))
    rest = len(changes) - limit
    return [*changes[:limit], f"and {rest} more"] if rest > 0 else changes


def _changes(path: str, old: object, new: object) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _changes(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            label = left.get("name", index) if isinstance(left, dict) else index
            yield from _changes(f"{path}.{label}", left, right)
    elif old != new:
        yield f"{path} {_shown(old)} -> {_shown(new)}"


def _shown(value: object) -> str:
    text = _ABSENT if value is None else str(value)
    return text if len(text) <= 60 else text[:59] + "…"
