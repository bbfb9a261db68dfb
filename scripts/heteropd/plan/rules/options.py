"""Options that cannot be looked into, that are decided elsewhere, or that put an engine out of reach."""

from collections.abc import Iterator

from heteropd import ucx
from heteropd.config.hosts import RoleAdditions, Roles
from heteropd.config.types import EngineRole
from heteropd.errors import nearest
from heteropd.findings import Finding
from heteropd.plan.arguments import EngineArguments, parse
from heteropd.plan.placement import ENGINE_ROLES
from heteropd.plan.rules.base import PlannedEngine, RuleContext, broken, engines, first, rule


def _additions(context: RuleContext) -> Iterator[tuple[EngineRole, RoleAdditions, EngineArguments]]:
    """What the hosts file adds to each role, and its arguments as vLLM reads them."""
    roles = context.request.hosts.roles if context.request.hosts else Roles()
    for role in ENGINE_ROLES:
        yield role, roles.engine(role), parse(roles.engine(role).args, context.env.vllm_options)


@rule("P51-arguments")
def _readable(context: RuleContext) -> Finding | None:
    for role, additions, arguments in _additions(context):
        shown = " ".join(word.partition("=")[0] for word in additions.args if word.startswith("-"))
        stray = [word for word in arguments.unknown[:1] if not word.startswith("-")]
        if arguments.problem:
            fix = "write out the option's whole name, and its value"
            problem = f"cannot be read as vLLM reads it ({arguments.problem})"
        elif "--config" in arguments.given:
            problem, fix = "names a file of more options, which no rule sees", "give the options themselves"
        elif stray:
            problem, fix = f"{stray[0]!r} belongs to no option", "write --option VALUE"
        else:
            continue
        return broken(context.hosts_file, f"roles.{role}.args", shown, problem, fix)
    return None


@rule("P57-unknown-option")
def _unknown(context: RuleContext) -> Finding | None:
    """For the very version that the list was read from, an option that it lacks ends the engine."""
    same = context.pins.vllm == context.env.vllm_options.vllm
    return _not_listed(context) if same else None


@rule("P58-perhaps-unknown")
def _perhaps_unknown(context: RuleContext) -> Finding | None:
    same = context.pins.vllm == context.env.vllm_options.vllm
    return None if same else _not_listed(context)


def _not_listed(context: RuleContext) -> Finding | None:
    options = context.env.vllm_options
    for role, _, arguments in _additions(context):
        for word in arguments.unknown:
            if word.startswith("-"):
                problem = f"is not an option of vLLM {options.vllm}; this plan's is {context.pins.vllm}"
                near = nearest(word.partition("=")[0], [names[0] for names in options.all()])
                fix = f"did you mean {near!r}?" if near else "see `vllm serve --help=all` of that version"
                return broken(context.hosts_file, f"roles.{role}.args", word, problem, fix)
    return None


@rule("P43-shadowed")
def _shadowed(context: RuleContext) -> Finding | None:
    for role, additions, arguments in _additions(context):
        decided = context.env.vllm_options.decided | _decided_by_hosts(role, context)
        given = [(f"roles.{role}", name) for name in (*additions.env, *arguments.given)]
        for field, name in [*given, *_hosts_variables(role, context)]:
            if name in decided:
                problem = "is decided elsewhere, and a second place could only disagree"
                fix = f"say {decided[name].format(role=role)} instead"
                return broken(context.hosts_file, field, name, problem, fix)
    return None


def _hosts_variables(role: str, context: RuleContext) -> Iterator[tuple[str, str]]:
    """Fields and names of the variables that hosts of a role give to its engines."""
    hosts = context.request.hosts
    used = {engine.plan.host.name for engine in context.engines if engine.role == role}
    for name, host in hosts.hosts.items() if hosts else ():
        if name in used:
            yield from ((f"hosts.{name}.env", key) for key in host.env)
            yield from ((f"hosts.{name}.engines", key) for own in host.engines for key in own.env)


def _decided_by_hosts(role: str, context: RuleContext) -> dict[str, str]:
    """Variables of a role that fields of its hosts set, and those fields."""
    decided: dict[str, str] = {}
    for engine in context.engines:
        host = context.host(engine)
        if engine.role != role or host is None or not engine.platform.accelerator:
            continue
        if host.nics or any(own.nics for own in host.engines):
            decided.setdefault(ucx.NET_DEVICES, f"hosts.{engine.plan.host.name}.nics")
        if engine.platform.visible_devices and (host.devices or any(own.devices for own in host.engines)):
            decided.setdefault(engine.platform.visible_devices, f"hosts.{engine.plan.host.name}.devices")
    return decided


@rule("P66-container")
def _container(context: RuleContext) -> Finding | None:
    hosts = context.request.hosts
    for name, host in hosts.hosts.items() if hosts else ():
        options = host.container
        given = {"gpus": options.gpus, "network": options.network, "env": ", ".join(options.env)}
        fixes = {
            "gpus": f"say hosts.{name}.devices instead",
            "network": "leave it out: it is the host's",
            "env": f"say hosts.{name}.env instead, which rules see",
        }
        for field, value in given.items():
            if value not in (None, "", "host"):
                problem = "is decided elsewhere, and a second place could only disagree"
                where = f"hosts.{name}.container.{field}"
                return broken(context.hosts_file, where, value, problem, fixes[field])
    return None


@rule("P67-router")
def _router(context: RuleContext) -> Finding | None:
    hosts, kind = context.request.hosts, context.env.defaults.routers[context.request.parameters.router]
    words = [word for entry in kind.argv for word in (entry if isinstance(entry, list) else [entry])]
    decided = [word for word in words if word.startswith("--")]
    for word in hosts.roles.router.args if hosts else ():
        option = word.partition("=")[0].replace("_", "-")
        if option.startswith("--") and any(name.startswith(option) for name in decided):
            fix = "leave it out; port=, metrics_port= and the hosts' addresses say it"
            return broken(context.hosts_file, "roles.router.args", option, "is decided by the plan", fix)
    return None


@rule("P52-reach", engines)
def _out_of_reach(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    given = engine.arguments.given
    return first(
        engine.option_finding(option, given[option], entry.problem, entry.fix)
        for entry in context.env.vllm_options.out_of_reach
        for option in entry.options
        if given.get(option) not in (None, False)
    )
