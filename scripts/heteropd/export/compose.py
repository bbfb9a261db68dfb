"""A plan as a compose file: one service a role, one profile a host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from heteropd.errors import BadInput
from heteropd.export.bash import commands
from heteropd.export.yaml_emitter import Emitter
from heteropd.plan.model import ContainerPlan, Plan, RolePlan

Service = dict[str, Any]

_GPUS = {
    "resources": {
        "reservations": {"devices": [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]}
    }
}


def compose(plan: Plan) -> str:
    """The file, for ``docker compose --profile HOST up``. Raises BadInput: stand-ins, no containers.

    A stand-in's command asks the kit where its Python and its model are.
    """
    if plan.standin:
        fix = "start them with `make " + plan.case + " runtime=docker`, print format=k8s, or give hosts=FILE"
        raise BadInput("command line", "format", "compose", "has no form for CPU stand-ins", fix)
    services = {role.name: _service(role) for role in plan.roles}
    head = f"# {plan.case}, {plan.pins} ({plan.variant}), {plan.model}.\n"
    head += "# On each host: docker compose --profile HOST up\n"
    document = {"name": f"heteropd-{plan.case}", "services": services}
    return head + yaml.dump(document, Dumper=_ComposeDumper, sort_keys=False, width=120)


class _ComposeDumper(Emitter):  # type: ignore[misc]
    """Writes texts of several lines as blocks, so that a service's script stays readable."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None
        node: yaml.ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", data, style=style)
        return node


_ComposeDumper.add_representer(str, _ComposeDumper.represent_str)


def _service(role: RolePlan) -> Service:
    if role.container is None:
        problem = "a plan for the process runtime has no containers"
        raise BadInput("command line", "format", "compose", problem, "add runtime=docker")
    service: Service = {"image": role.container.image, "profiles": [role.host.name]}
    for argument in _arguments(role.container):
        name, _, value = argument.removeprefix("--").partition("=")
        if name not in _KEYS:
            problem = f"the container argument {argument!r} has no form in a compose file"
            raise BadInput("command line", "format", "compose", problem, "use format=bash or format=json")
        _KEYS[name](service, value)
    # A shell in the container expands ${NAME}; compose itself must not, hence the doubled dollar.
    service["entrypoint"] = ["bash", "-c"]
    service["command"] = [commands(role).replace("$", "$$")]
    return service


def _arguments(container: ContainerPlan) -> list[str]:
    return [*container.args, *container.device_args]


def _put(key: str, fixed: Any = None) -> Callable[[Service, str], None]:
    def put(service: Service, value: str) -> None:
        service[key] = value if fixed is None else fixed

    return put


def _append(key: str) -> Callable[[Service, str], None]:
    def append(service: Service, value: str) -> None:
        service.setdefault(key, []).append(value)

    return append


def _ulimit(service: Service, value: str) -> None:
    name, _, limit = value.partition("=")
    service.setdefault("ulimits", {})[name] = int(limit)


_KEYS: dict[str, Callable[[Service, str], None]] = {
    "privileged": _put("privileged", fixed=True),
    "net": _put("network_mode"),
    "ipc": _put("ipc"),
    "runtime": _put("runtime"),
    "gpus": _put("deploy", fixed=_GPUS),
    "cap-add": _append("cap_add"),
    "device": _append("devices"),
    "env": _append("environment"),
    "ulimit": _ulimit,
}
