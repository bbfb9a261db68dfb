"""Addresses and ports: whether the roles can find each other."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from heteropd.plan.model import RolePlan
from heteropd.plan.rules.base import Context, Engine, Finding, Rule, first

SIDE_CHANNEL_HOST = "VLLM_NIXL_SIDE_CHANNEL_HOST"


def _side_channel_host(context: Context) -> Finding | None:
    return first([_engine_side_channel(engine, context) for engine in context.engines])


def _engine_side_channel(engine: Engine, context: Context) -> Finding | None:
    announced = engine.plan.env.get(SIDE_CHANNEL_HOST, "localhost")
    address = engine.plan.host.address
    elsewhere = [role.name for role in context.plan.roles if role.host.name != engine.plan.host.name]
    if elsewhere and nowhere_else(announced):
        problem = f"means another machine to {', '.join(elsewhere)}, which must fetch KV metadata from it"
        mend = "give the host the address that its peers use"
        if announced == address and context.request.hosts_file:
            field = f"hosts.{engine.plan.host.name}.address"
            return Finding(context.request.hosts_file, field, address, problem, mend)
        return engine.env_finding(SIDE_CHANNEL_HOST, problem, mend)
    if announced != address:
        problem = f"is not this host's address, {address}"
        return engine.env_finding(
            SIDE_CHANNEL_HOST, problem, "leave it out of the additions: the kit sets it"
        )
    return None


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
class _Use:
    """One port in use. ``parameter`` is what the user gives it by, where it is a parameter; ``addition`` the
    hosts file's field that gives it."""

    text: str
    parameter: str | None = None
    addition: str | None = None


def _port_clash(context: Context) -> Finding | None:
    taken: dict[tuple[str, int], _Use] = {}
    for role in context.plan.roles:
        for use, port in role.ports.all().items():
            one = _use(context, role, use)
            other = taken.setdefault((role.host.address, port), one)
            if other is not one:
                return _clash(context, one, other, port)
    return None


def _use(context: Context, role: RolePlan, use: str) -> _Use:
    text = f"the {use.replace('_', '-')} port of {role.name}"
    if use == "api":
        return _Use(text, parameter="port" if role.role == "router" else f"{role.role}_port")
    hosts = context.request.hosts
    additions = {str(name): one for name, one in hosts.roles.items()} if hosts else {}
    if role.role in additions and additions[role.role].side_channel_port:
        return _Use(text, addition=f"roles.{role.role}.side_channel_port")
    return _Use(text)


def _clash(context: Context, one: _Use, other: _Use, port: int) -> Finding:
    names = [use.parameter for use in (one, other) if use.parameter]
    additions = [use.addition for use in (one, other) if use.addition]
    blamed = context.blame(*names) if names else None
    problem = f"is {other.text} and {one.text}, on one host"
    if blamed and not (additions and context.request.layers[blamed] in ("defaults", "case")):
        return context.parameter(blamed, problem, "choose another port")
    where = context.request.hosts_file or "env/defaults.yaml"
    field = additions[0] if additions else "side_channel_port"
    return Finding(where, field, port, problem, "choose another port")


def _remote_process(context: Context) -> Finding | None:
    hosts = [role.host for role in context.plan.roles]
    remote = sorted({host.name for host in hosts if host.ssh and not host.python})
    if context.plan.runtime != "process" or not remote:
        return None
    problem = f"starts processes on this machine only, and {', '.join(remote)} is reached over ssh"
    return context.parameter(
        "runtime", problem, "use runtime=docker, or name its engines' python: in the hosts file"
    )


RULES = [
    Rule(
        "P16-side-channel-host",
        "an engine announces an address that its peers reach",
        "refuse",
        "NVIDIA/srt-slurm#158, ai-dynamo/dynamo#1327 (vLLM's default is localhost)",
        _side_channel_host,
    ),
    Rule(
        "P18-port-clash",
        "no port of a host is used twice",
        "refuse",
        "vllm-project/vllm#20965, #25059",
        _port_clash,
    ),
    Rule(
        "P47-remote-process",
        "the process runtime runs on this machine, or with the Python that the hosts file names",
        "refuse",
        "the kit's own limit",
        _remote_process,
    ),
]
