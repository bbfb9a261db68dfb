"""The pod of a role: its containers, volumes, probes and rights."""

from dataclasses import dataclass
from math import ceil
from typing import Any

from heteropd.config.defaults import TimeoutDefaults
from heteropd.config.env import Env
from heteropd.config.images import Image
from heteropd.config.platforms import Pod
from heteropd.export.k8s import addresses
from heteropd.export.k8s.addresses import Names
from heteropd.export.k8s.arguments import ContainerNeeds, read
from heteropd.export.k8s.models import Model, model
from heteropd.plan.environment import ENGINE_BIN, ENGINE_PYTHON, KEEPS_ENVIRONMENT, MODEL_DIR
from heteropd.plan.model import Plan, RolePlan

Object = dict[str, Any]


@dataclass(frozen=True)
class PodDraft:
    """A role's pod, and what there is to say about it."""

    role: RolePlan
    spec: Object
    container: ContainerNeeds
    model: Model | None

    @property
    def level(self) -> str:
        """The least of Pod Security's levels that admits it."""
        host = self.spec.get("hostNetwork") or any(
            "hostPath" in entry for entry in self.spec.get("volumes", [])
        )
        if host or self.container.security or self.container.capabilities:
            return "privileged"
        return "restricted" if self.spec["securityContext"].get("runAsNonRoot") else "baseline"


def draft(role: RolePlan, plan: Plan, env: Env, names: Names) -> PodDraft:
    """The pod of a role; ``names`` are the plan's. Raises BadInput for what a pod cannot have."""
    facts = env.defaults.kubernetes
    image = next(entry for name, entry in env.images.images.items() if name == role.runs_on)
    pods = {"router": facts.router, **{name: entry.kubernetes for name, entry in env.platforms.items()}}
    needs = pods[role.runs_on]
    container = read(role, needs, env)
    loads = None if role.role == "router" else model(plan, env, image.python)
    places = {ENGINE_PYTHON: image.python, ENGINE_BIN: image.bin, MODEL_DIR: loads.folder if loads else ""}
    extra = container.env | KEEPS_ENVIRONMENT | (loads.env if loads else {})
    rights = _rights(container, image)
    common = {"image": role.container.image if role.container else "", "securityContext": rights}
    makers = [
        {**entry, **common, "resources": _resources(needs, {})} for entry in (loads.makers if loads else [])
    ]
    main = {
        "name": role.role,
        **common,
        "command": addresses.command(role, names, env, places),
        "env": addresses.environment(role, names, image.env | places, extra, _left_out(role, env)),
        "ports": ports(role, "containerPort"),
        "resources": _resources(needs, container.limits),
        **_probes(role, env.defaults.timeouts, plan.ready_timeout or env.defaults.timeouts.ready),
        **_given("volumeMounts", _mounts(container, loads)),
    }
    spec = {
        "enableServiceLinks": False,  # variables named after Services, which vLLM takes for its own
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": ceil(env.defaults.timeouts.stop),
        **container.pod,
        "securityContext": _identity(image),
        **_given("initContainers", makers),
        "containers": [main],
        **_given("volumes", _volumes(container, loads)),
    }
    return PodDraft(role, spec, container, loads)


def _left_out(role: RolePlan, env: Env) -> set[str]:
    """Variables that number a host's devices, and those that are for roles on one machine."""
    numbers = {platform.visible_devices for platform in env.platforms.values() if platform.visible_devices}
    local = [platform.local_env for name, platform in env.platforms.items() if name == role.runs_on]
    return numbers | {key for entry in local for key, value in entry.items() if role.env.get(key) == value}


def ports(role: RolePlan, field: str) -> list[Object]:
    """The role's ports, by name; ``field`` is what the kind of object calls a port."""
    return [{"name": name.replace("_", "-"), field: port} for name, port in role.ports.all().items()]


def _given(name: str, value: Any) -> Object:
    return {name: value} if value else {}


def _resources(needs: Pod, limits: dict[str, str]) -> Object:
    return {"requests": dict(needs.requests), **_given("limits", dict(limits))}


def _probes(role: RolePlan, timeouts: TimeoutDefaults, ready: float) -> Object:
    """As long to start as a plan waits; ended when silent for as long as a completion may take."""
    ask = {"httpGet": {"path": role.health_path, "port": "api"}, "timeoutSeconds": ceil(timeouts.health)}
    often, rarely = ceil(timeouts.poll), ceil(timeouts.heartbeat)
    return {
        "startupProbe": {**ask, "periodSeconds": often, "failureThreshold": ceil(ready / often)},
        "readinessProbe": {**ask, "periodSeconds": ceil(timeouts.health)},
        "livenessProbe": {
            **ask,
            "periodSeconds": rarely,
            "failureThreshold": ceil(timeouts.request / rarely),
        },
    }


def _rights(container: ContainerNeeds, image: Image) -> Object:
    rights: Object = dict(container.security) or {"allowPrivilegeEscalation": False}
    capabilities: dict[str, list[str]] = {}
    if image.uid and not container.security:  # only root has use for what a container engine grants unasked
        capabilities["drop"] = ["ALL"]
    if container.capabilities:
        capabilities["add"] = list(container.capabilities)
    return rights | _given("capabilities", capabilities)


def _identity(image: Image) -> Object:
    """By number: the kubelet cannot tell from an image's user name whether it is root."""
    identity: Object = {"seccompProfile": {"type": "RuntimeDefault"}}
    if not image.uid:
        return identity
    numbers = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), image.uid)
    return {"runAsNonRoot": True, **numbers, **identity}


def _mounts(container: ContainerNeeds, loads: Model | None) -> list[Object]:
    return [
        *([{"name": "shm", "mountPath": "/dev/shm"}] if container.shm else []),  # noqa: S108
        *(loads.mounts if loads else []),
        *(
            {"name": f"folder-{at}", "mountPath": here, "readOnly": readonly}
            for at, (_, here, readonly) in enumerate(container.folders)
        ),
    ]


def _volumes(container: ContainerNeeds, loads: Model | None) -> list[Object]:
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": container.shm}}
    return [
        *([shm] if container.shm else []),
        *(loads.volumes if loads else []),
        *(
            {"name": f"folder-{at}", "hostPath": {"path": there}}
            for at, (there, _, _) in enumerate(container.folders)
        ),
    ]
