"""What a role's command and environment say, with a cluster's names in the place of hosts' addresses."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from heteropd.config.env import Env
from heteropd.errors import BadInput
from heteropd.plan.environment import child_argv, child_environment
from heteropd.plan.model import Plan, RolePlan

_BIND = re.compile(r"--([a-z-]+-)?host")
_WORD = re.compile(r"[\w.:-]+")
_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def name(plan: Plan, role: RolePlan) -> str:
    """Name of everything that the role has in the cluster; as a host name, its Service."""
    return f"{plan.case}-{role.name}"


@dataclass(frozen=True)
class Names:
    """What a cluster calls a plan's parts: ``urls`` of engines by what they are in the plan, and the
    addresses of the plan's hosts, which no pod has."""

    urls: Mapping[str, str]
    hosts: frozenset[str]


def names(plan: Plan) -> Names:
    """For all roles of the plan, once."""
    urls = {
        url: f"http://{name(plan, engine)}:{engine.ports.api}"
        for engine in plan.engines
        for url in (engine.peer_url, engine.url)
    }
    return Names(urls, frozenset(address for role in plan.roles for address in role.host.addresses))


def command(role: RolePlan, names: Names, env: Env, places: Mapping[str, str]) -> list[str]:
    """The plan's command: engines by their Services, and a router that listens to more than its own pod."""
    remote = env.defaults.bind["remote"]
    words: list[str] = []
    for word in child_argv(role.argv, places):
        binds = bool(words) and _BIND.fullmatch(words[-1]) and word in env.defaults.bind.values()
        words.append(remote if binds else names.urls.get(word, word))
    _refuse_addresses(words, role, names)
    return [literal(word) for word in words]


def environment(
    role: RolePlan, names: Names, known: Mapping[str, str], extra: Mapping[str, str], left_out: set[str]
) -> list[dict[str, Any]]:
    """``extra``, then the plan's environment, which wins; ``known`` is what its ``${NAME}`` may stand for.

    The host's own address becomes the pod's, which only the cluster knows. ``left_out`` are variables that
    hold on the plan's hosts alone.
    """
    planned = {key: value for key, value in role.env.items() if key not in left_out}
    for key, value in planned.items():
        unknown = [name for name in _NAME.findall(value) if name not in known]
        if unknown:
            problem = (
                f"holds ${{{unknown[0]}}}, which env/images.yaml does not say of the image {role.runs_on}"
            )
            raise BadInput(role.name, key, value, problem, "write the value out")
    entries: list[dict[str, Any]] = []
    rendered = child_environment(planned, known, {}, {}).variables
    exempt = {name: _exempt(value, names) for name, value in rendered.items() if name.lower() == "no_proxy"}
    for key, value in {**extra, **{name: rendered[name] for name in planned}, **exempt}.items():
        if value == role.host.address:
            entries.append({"name": key, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
            continue
        entries.append({"name": key, "value": literal(value)})
    checked = [entry for entry in entries if "value" in entry and entry["name"] not in exempt]
    _refuse_addresses([f"{entry['name']}={entry['value']}" for entry in checked], role, names)
    return entries


def _exempt(no_proxy: str, names: Names) -> str:
    """What no proxy stands before: Services in the place of hosts."""
    services = [url.partition("://")[2].partition(":")[0] for url in names.urls.values()]
    kept = [name for name in no_proxy.split(",") if name not in names.hosts or name == "127.0.0.1"]
    return ",".join(dict.fromkeys([*kept, *services]))


def literal(text: str) -> str:
    """The text as Kubernetes takes it: it expands $(NAME), and reads $$ as $."""
    return text.replace("$", "$$")


def _refuse_addresses(texts: Iterable[str], role: RolePlan, names: Names) -> None:
    for text in texts:
        for word in _WORD.findall(text):
            # An address may stand before a port, and be one of IPv6.
            parts = word.split(":")
            hosts = names.hosts.intersection(":".join(parts[:end]) for end in range(1, len(parts) + 1))
            if hosts:
                problem = f"holds the address {min(hosts)}, which no pod has"
                fix = "leave it out of the hosts file's additions, or use format=compose"
                raise BadInput("hosts", f"roles.{role.role}", text, problem, fix)
