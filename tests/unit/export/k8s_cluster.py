"""What the tests know of Kubernetes: its published schemas, and how it expands a container's words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from heteropd import export
from heteropd.config.env import Env, load
from heteropd.config.machine import Machine
from heteropd.plan.model import Plan
from plan_words import make

ROOT = Path(__file__).parents[3]
EXAMPLE = "hosts=env/hosts/example.yaml"
ENV: Env = load(ROOT)
OLDEST, NEWEST = "1.25", "1.37"  # what the package of schemas has
Object = dict[str, Any]

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")


def plan(*words: str) -> Plan:
    runtime = [] if any(word.startswith(("hosts=", "runtime=")) for word in words) else ["runtime=docker"]
    return make([*words, *runtime], ROOT, Machine(cores=[0, 1]))


def text(what: Plan, env: Env = ENV) -> str:
    return export.render(what, "k8s", env)


def objects(what: Plan, env: Env = ENV) -> list[Object]:
    return list(yaml.load_all(text(what, env), yaml.CSafeLoader))


def workloads(what: Plan, env: Env = ENV) -> dict[str, Object]:
    """StatefulSets and the Deployment, by the role's name."""
    found = [one for one in objects(what, env) if one["kind"] in ("StatefulSet", "Deployment")]
    return {one["metadata"]["labels"]["app.kubernetes.io/name"]: one for one in found}


def pod(what: Plan, name: str, env: Env = ENV) -> Object:
    spec: Object = workloads(what, env)[name]["spec"]["template"]["spec"]
    return spec


def container(what: Plan, name: str, env: Env = ENV) -> Object:
    [main] = pod(what, name, env)["containers"]
    found: Object = main
    return found


def refused(document: Object, version: str) -> str | None:
    """What the schema, which knows every field, has against the object."""
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as problem:
        return f"{'.'.join(map(str, problem.absolute_path))}: {problem.message}"
    return None


def expanded(word: str, env: dict[str, str]) -> str:
    """As the kubelet does: $(NAME) is a variable of the pod where it has it, and $$ is $."""
    return _REFERENCE.sub(lambda m: "$" if m[1] == "$" else env.get(m[2], m[0]), word)


def variables(one: Object) -> dict[str, str]:
    """The container's environment as its process sees it; the pod's address as POD."""
    seen: dict[str, str] = {}
    for entry in one["env"]:
        given = entry.get("value")
        if given is None:
            assert entry["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
            given = "POD"
        seen[entry["name"]] = expanded(given, seen)
    return seen


def command(one: Object) -> list[str]:
    return [expanded(word, variables(one)) for word in one["command"]]
