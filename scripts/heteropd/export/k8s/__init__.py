"""A plan as Kubernetes manifests: a StatefulSet and a headless Service for each engine, a Deployment and a
Service for the router. What no manifest can say stands in the comment at their top.
"""

import re

import yaml

from heteropd.config.env import Env
from heteropd.errors import BadInput
from heteropd.export.k8s import addresses
from heteropd.export.k8s.head import head
from heteropd.export.k8s.pod import draft
from heteropd.export.k8s.workloads import documents
from heteropd.export.yaml_emitter import emitter
from heteropd.plan.model import Plan

__all__ = ["k8s"]

_LONGEST_NAME = 52  # of a StatefulSet: its pods get a label with ten characters of a hash after the name
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


def k8s(plan: Plan, env: Env) -> str:
    """The manifests, for ``kubectl apply -f``. Pure.

    Raises BadInput for a plan without containers, and for what pods cannot have or do not reach.
    """
    _refuse(plan, env)
    names = addresses.names(plan)
    drafts = [draft(role, plan, env, names) for role in plan.roles]
    manifests = [document for pod in drafts for document in documents(pod, plan)]
    return head(plan, env, drafts) + yaml.dump_all(
        manifests, Dumper=_ManifestDumper, sort_keys=False, explicit_start=True, width=2**16
    )


def _refuse(plan: Plan, env: Env) -> None:
    if any(role.container is None for role in plan.roles):
        problem = "a plan for the process runtime has no containers"
        raise BadInput("command line", "runtime", plan.runtime, problem, "add runtime=docker")
    kind = next(pod for name, pod in env.defaults.routers.items() if name == plan.parameters["router"])
    if "{bind}" not in kind.argv:
        problem = "listens where only its own pod reaches it"
        raise BadInput("command line", "router", plan.parameters["router"], problem, "use router=vllm")
    for role in plan.roles:
        name = addresses.name(plan, role)
        if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            problem = f"{name!r} cannot name a Service and a StatefulSet"
            fix = (
                f"rename the file: a-z, 0-9 and '-', {_LONGEST_NAME} characters at most with the role's name"
            )
            raise BadInput(f"env/cases/{plan.case}.yaml", None, None, problem, fix)


# Texts that some reader of YAML takes for something else (``y``, ``0o17``) are quoted.
_PLAIN = re.compile(r"(--?)?[A-Za-z/_][A-Za-z0-9/_.]")
_ManifestDumper = emitter(lambda text: None if _PLAIN.match(text) else "'")
