"""Devices: whether every engine has those it needs, and whether the two sides' numbers go together."""

from heteropd.config.hosts import Host
from heteropd.findings import Finding
from heteropd.plan.arguments import PARALLEL
from heteropd.plan.placement import ENGINE_ROLES, devices_of
from heteropd.plan.rules.base import PlannedEngine, RuleContext, broken, engines, first, pairs, rule


@rule("P50-devices")
def _devices(context: RuleContext) -> Finding | None:
    engines: dict[tuple[str, str], list[PlannedEngine]] = {}
    for engine in context.engines:
        engines.setdefault((engine.plan.host.name, engine.role), []).append(engine)
    return first(_on_host(context, sharing) for sharing in engines.values())


def _on_host(context: RuleContext, sharing: list[PlannedEngine]) -> Finding | None:
    """The engines of one role on one host."""
    host = context.host(sharing[0])
    if host is None or not sharing[0].platform.visible_devices:
        return None
    return (_of_their_own if host.engines else _shared)(context, host, sharing)


def _shared(context: RuleContext, host: Host, sharing: list[PlannedEngine]) -> Finding | None:
    """Where they share the host's devices evenly."""
    engine, many = sharing[0], len(sharing)
    where, field = context.hosts_file, f"hosts.{engine.plan.host.name}.devices"
    if host.devices is None:
        if many == 1:
            return None
        problem = f"{many} {engine.role} engines would all take every device of the host"
        return broken(where, field, None, problem, f"name {many} devices or a multiple: [0, 1, …]")
    if len(host.devices) % many:
        problem = f"cannot be divided evenly among {many} {engine.role} engines"
        return broken(where, field, host.devices, problem, f"name a multiple of {many}")
    ranks = engine.arguments.ranks
    if len(host.devices) // many < ranks:
        each = f"{len(host.devices) // many} for each of {many}" if many > 1 else f"{len(host.devices)}"
        problem = f"is {each}, and {_parallel(engine)} takes {ranks}"
        fix = f"name {ranks * many}, or make what multiplies them smaller under roles.{engine.role}"
        return broken(where, field, host.devices, problem, fix)
    return None


def _of_their_own(context: RuleContext, host: Host, sharing: list[PlannedEngine]) -> Finding | None:
    """Where the host says what each engine has: each has enough, and none another's."""
    many, taken = len(sharing), set[int]()
    for nth, engine in enumerate(sharing):
        field = f"hosts.{engine.plan.host.name}.engines.{nth}.devices"
        devices = devices_of(host, nth, many)
        if devices is None:
            if many > 1:
                problem = f"{many} {engine.role} engines would share every device of the host"
                return broken(context.hosts_file, field, None, problem, "name devices for each")
            continue
        if len(devices) < engine.arguments.ranks:
            problem = f"is {len(devices)}, and {_parallel(engine)} takes {engine.arguments.ranks}"
            return broken(context.hosts_file, field, devices, problem, f"name {engine.arguments.ranks}")
        if common := taken & set(devices):
            problem = f"has {min(common)}, which another engine of the host has too"
            return broken(context.hosts_file, field, devices, problem, "name each device once")
        taken |= set(devices)
    return None


@rule("P65-engines")
def _engines(context: RuleContext) -> Finding | None:
    hosts = context.request.hosts
    for name, host in hosts.hosts.items() if hosts else ():
        for role in ENGINE_ROLES if host.engines else ():
            many = sum(engine.role == role and engine.plan.host.name == name for engine in context.engines)
            if many not in (0, len(host.engines)):
                problem = f"has {len(host.engines)} entries for {many} {role} engines of the host"
                fix = "give one entry an engine, in their order"
                return broken(context.hosts_file, f"hosts.{name}.engines", len(host.engines), problem, fix)
    return None


def _parallel(engine: PlannedEngine) -> str:
    """The options that multiply an engine's devices, as they are given."""
    sizes = {option: engine.arguments.text(option) for option in PARALLEL}
    return " with ".join(f"{option} {size}" for option, size in sizes.items() if size)


@rule("P62-stand-in-ranks", engines)
def _standin_ranks(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    if not engine.plan.standin or engine.arguments.ranks == 1:
        return None
    problem = f"stand-ins are seen to work with one rank only, and {_parallel(engine)} makes more"
    return broken(context.hosts_file, f"roles.{engine.role}", engine.arguments.ranks, problem, "leave it out")


@rule("P49-tensor-parallel", pairs)
def _tensor_parallel(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    ours, theirs = prefill.arguments.tensor_parallel, decode.arguments.tensor_parallel
    field = "roles.decode.tensor_parallel_size"
    if ours == theirs:
        return None
    if ours > theirs or theirs % ours:
        problem = f"the decode's {theirs} must be a whole number times the prefill's {ours}"
        fix = "make both equal, or the decode's a multiple of the prefill's"
        return broken(context.hosts_file, field, theirs, problem, fix)
    if prefill.kv.wire_layout != "HND":
        problem = (
            f"with {ours} on the prefill, a rank takes its heads out of the blocks that arrive,"
            " which only HND lets it"
        )
        fix = "make both equal, or use prefill_kv_layout=HND"
        return broken(context.hosts_file, field, theirs, problem, fix)
    return None


@rule("P61-pipeline", engines)
def _pipeline(_context: RuleContext, engine: PlannedEngine) -> Finding | None:
    for option in ("--pipeline-parallel-size", "--prefill-context-parallel-size"):
        size = engine.arguments.number(option, 1)
        if size > 1:
            problem = "NixlConnector refuses engines whose layers or prompts are split"
            return engine.option_finding(option, size, problem, "use tensor_parallel_size, or more engines")
    return None
