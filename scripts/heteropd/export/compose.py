"""A plan as a compose file: one service a role, one profile a host."""

from typing import Any

import yaml

from heteropd.config.container_options import ContainerOptions, Ulimit
from heteropd.config.model_facts import hub_entry
from heteropd.errors import BadInput
from heteropd.export.bash import commands, comments
from heteropd.export.yaml_emitter import emitter
from heteropd.plan.model import Plan, RolePlan

Service = dict[str, Any]

# What compose files call differently; the other names are the same.
_NAMES = {"network": "network_mode", "memory": "mem_limit", "env": "environment"}


def compose(plan: Plan) -> str:
    """The file, for ``docker compose --profile HOST up``. Raises BadInput: stand-ins, no containers.

    A stand-in's command asks the kit where its Python and its model are.
    """
    if plan.standin:
        fix = "start them with `make " + plan.case + " runtime=docker`, print format=k8s, or give hosts=FILE"
        raise BadInput("command line", "format", "compose", "has no form for CPU stand-ins", fix)
    services = {role.name: _service(role, plan) for role in plan.roles}
    head = f"# {plan.case}, {plan.pins} ({plan.variant}), {plan.model}.\n"
    head += "# On each host: docker compose --profile HOST up\n"
    head += "".join(f"{line}\n" for line in comments(plan))
    document = {"name": f"heteropd-{plan.case}", "services": services}
    return head + yaml.dump(document, Dumper=_ComposeDumper, sort_keys=False, width=120)


# Texts of several lines are blocks, so that a service's script stays readable.
_ComposeDumper = emitter(lambda text: "|" if "\n" in text else None)


def _service(role: RolePlan, plan: Plan) -> Service:
    if role.container is None:
        problem = "a plan for the process runtime has no containers"
        raise BadInput("command line", "format", "compose", problem, "add runtime=docker")
    service: Service = {"image": role.container.image, "profiles": [role.host.name]}
    service |= _options(role.container.options)
    folder = role.host.model or plan.model_source
    if role.role != "router" and folder.startswith("/"):
        whole = hub_entry(folder)
        service.setdefault("volumes", []).append(f"{whole}:{whole}:ro")
    service["entrypoint"] = ["bash", "-c"]  # a shell in the container expands ${NAME}; compose must not
    service["command"] = [_literal(commands(role))]
    return service


def _options(options: ContainerOptions) -> Service:
    fields = options.model_dump(exclude_defaults=True)
    named = {_NAMES.get(name, name): value for name, value in fields.items()}
    if "gpus" in named:
        named["deploy"] = {"resources": {"reservations": {"devices": [_gpus(named.pop("gpus"))]}}}
    if "ulimits" in named:
        named["ulimits"] = {name: _limit(limit) for name, limit in options.ulimits.items()}
    if "environment" in named:
        named["environment"] = [_literal(f"{name}={value}") for name, value in options.env.items()]
    return named


def _gpus(gpus: str | int | list[str]) -> Service:
    wanted = {"device_ids": gpus} if isinstance(gpus, list) else {"count": gpus}
    return {"driver": "nvidia", **wanted, "capabilities": ["gpu"]}


def _limit(limit: Ulimit) -> int | dict[str, int]:
    return limit.soft if limit.soft == limit.hard else limit.model_dump()


def _literal(text: str) -> str:
    """The text as compose takes it, which would replace ${NAME}."""
    return text.replace("$", "$$")
