"""Addresses and ports: whether the roles can find each other."""

import ipaddress
from dataclasses import dataclass

from heteropd.findings import Finding
from heteropd.plan.model import RolePlan
from heteropd.plan.rules.base import PlannedEngine, RuleContext, broken, engines, rule

SIDE_CHANNEL_HOST = "VLLM_NIXL_SIDE_CHANNEL_HOST"
LAST_PORT = 65535


@rule("P16-side-channel-host", engines)
def _side_channel_host(context: RuleContext, engine: PlannedEngine) -> Finding | None:
    announced = engine.plan.env.get(SIDE_CHANNEL_HOST, "localhost")
    address = engine.plan.host.address
    if nowhere_else(announced):
        elsewhere = [role.name for role in context.plan.roles if role.host.name != engine.plan.host.name]
        if elsewhere:
            problem = f"means another machine to {_shown(elsewhere)}, which must fetch KV metadata from it"
            fix = "give the host the address that its peers use"
            if announced == address and context.request.hosts_file:
                field = f"hosts.{engine.plan.host.name}.address"
                return broken(context.hosts_file, field, address, problem, fix)
            return engine.env_finding(SIDE_CHANNEL_HOST, problem, fix)
    if announced != address:
        problem = f"is not this host's address, {address}"
        return engine.env_finding(
            SIDE_CHANNEL_HOST, problem, "leave it out of the additions: the kit sets it"
        )
    return None


def _shown(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def nowhere_else(address: str) -> bool:
    """True for an address that means the machine itself, or every interface of it."""
    if address.rstrip(".").lower() in ("localhost", "localhost.localdomain"):
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.is_loopback or parsed.is_unspecified


@dataclass(frozen=True)
class _PortUse:
    """One port in use. ``parameter`` is what the user gives it by, where it is a parameter; ``addition`` the
    hosts file's field that gives it, and its value."""

    role: RolePlan
    text: str
    parameter: str | None = None
    addition: tuple[str, int] | None = None


@rule("P64-listens", engines)
def _listens(_context: RuleContext, engine: PlannedEngine) -> Finding | None:
    """An engine without --host listens on all of IPv4, as vLLM does."""
    given, reached = engine.arguments.text("--host") or "0.0.0.0", set(engine.plan.host.addresses)  # noqa: S104
    if given == "::" or {given} == reached:
        return None
    unmet = [address for address in sorted(reached) if ":" in address or given != "0.0.0.0"]  # noqa: S104
    if not unmet:
        return None
    problem = f"leaves {', '.join(unmet)} of its host unheard, where peers or this machine ask"
    return engine.option_finding("--host", given, problem, "leave it out: the kit sets it where it must")


@rule("P18-port-clash")
def _port_clash(context: RuleContext) -> Finding | None:
    taken: dict[tuple[str, int], _PortUse] = {}
    for role in context.plan.roles:
        for name, port in role.ports.all().items():
            use = _use(context, role, name)
            if port > LAST_PORT:
                problem = f"makes {port} {use.text}, and the last port is {LAST_PORT}"
                return _blamed(context, [use], problem, "choose a smaller one")
            earlier = taken.setdefault((role.host.address, port), use)
            if earlier is not use:
                return _clash(context, use, earlier, port)
    return None


def _use(context: RuleContext, role: RolePlan, name: str) -> _PortUse:
    text = f"the {name.replace('_', '-')} port of {role.name}"
    if name == "api":
        return _PortUse(role, text, parameter="port" if role.role == "router" else f"{role.role}_port")
    hosts = context.request.hosts
    given = hosts.roles.engine(role.role).side_channel_port if hosts and role.role != "router" else None
    return _PortUse(role, text, addition=(f"roles.{role.role}.side_channel_port", given) if given else None)


def _clash(context: RuleContext, use: _PortUse, earlier: _PortUse, port: int) -> Finding:
    both = f"{earlier.text} and {use.text}, on one host"
    names = [each.role.host.name for each in (earlier, use)]
    if len(set(names)) > 1 and context.request.hosts_file:
        problem = f"is {names[0]}'s too, and {port} is {both}"
        fix = "give every host its own address, and one machine one name"
        address = use.role.host.address
        return broken(context.hosts_file, f"hosts.{names[1]}.address", address, problem, fix)
    return _blamed(context, [use, earlier], f"makes {port} {both}", "choose another port")


def _blamed(context: RuleContext, uses: list[_PortUse], problem: str, fix: str) -> Finding:
    """A finding about what gives the ports: of several, what stands closest to the user."""
    names = [use.parameter for use in uses if use.parameter]
    additions = [use.addition for use in uses if use.addition]
    counts = [f"{use.role.role}s" for use in uses if use.role.role != "router"]
    many = context.blame(*counts) if counts else "prefills"
    blamed = context.blame(*names) if names else "side_channel_port"
    layers = context.request.layers
    if layers[many] != "defaults" and layers[blamed] in ("defaults", "case"):
        return context.parameter(many, problem, "take fewer engines, or ports further apart")
    if additions and context.request.layers[blamed] in ("defaults", "case"):
        return broken(context.request.hosts_file or "hosts", *additions[0], problem, fix)
    return context.parameter(blamed, problem, fix)


@rule("P47-remote-process")
def _remote_process(context: RuleContext) -> Finding | None:
    hosts = [role.host for role in context.plan.roles]
    remote = sorted({host.name for host in hosts if host.ssh and not host.python})
    if context.plan.runtime != "process" or not remote:
        return None
    problem = f"starts processes on this machine only, and these are reached over ssh: {_shown(remote)}"
    return context.parameter(
        "runtime", problem, "use runtime=docker, or name its engines' python: in the hosts file"
    )


@rule("P55-remote-address")
def _remote_address(context: RuleContext) -> Finding | None:
    hosts, reached = context.request.hosts, dict[str, str]()
    for name, host in hosts.hosts.items() if hosts else ():
        if host.ssh and reached.setdefault(host.ssh, name) != name:
            problem = f"reaches the machine of host {reached[host.ssh]}"
            fix = "give every host its own destination, and one machine one name"
            return broken(context.hosts_file, f"hosts.{name}.ssh", host.ssh, problem, fix)
        for field, address in (("address", host.address), ("management", host.management)):
            if host.ssh and address and nowhere_else(address):
                problem = "means the machine that asks, and this host is reached over ssh"
                fix = "give the address that others connect to"
                return broken(context.hosts_file, f"hosts.{name}.{field}", address, problem, fix)
    return None
