"""What a container's options ask of a pod. Each is mapped, or said to be left to the cluster, or refused."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from heteropd.config.container_options import Ulimit
from heteropd.config.env import Env
from heteropd.config.platforms import Kubernetes, Pod
from heteropd.config.vllm_options import VllmOptions
from heteropd.errors import BadInput
from heteropd.plan.arguments import engine_words, parse
from heteropd.plan.model import RolePlan


@dataclass
class ContainerNeeds:
    """What a pod gets. ``outcome`` tells for each option, as ``docker run`` says it, what became of it."""

    role: RolePlan
    needs: Pod
    facts: Kubernetes
    options: VllmOptions
    shm: str | None
    pod: dict[str, Any] = field(default_factory=dict)
    security: dict[str, Any] = field(default_factory=dict)
    capabilities: list[str] = field(default_factory=list)
    limits: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    folders: list[tuple[str, str, bool]] = field(default_factory=list)
    outcome: dict[str, str] = field(default_factory=dict)

    def field(self, name: str) -> str:
        """Where env/ says what the pod needs, for a fix."""
        if self.role.role == "router":
            return f"kubernetes.router.{name} in env/defaults.yaml"
        return f"kubernetes.{name} in env/platforms/{self.role.runs_on}.yaml"


class _NoForm(Exception):
    """Carries the fix."""


def read(role: RolePlan, needs: Pod, env: Env) -> ContainerNeeds:
    """Read the role's container options. Raises BadInput for one that has no form in a pod."""
    pod = ContainerNeeds(role, needs, env.defaults.kubernetes, env.vllm_options, needs.shm)
    assert role.container is not None, "refused before"
    for name, value, word in role.container.options.entries():
        try:
            if name not in _FORMS:
                raise _NoForm("use format=bash or format=compose")
            pod.outcome[word] = _FORMS[name](pod, value)
        except _NoForm as stop:
            problem = f"the container argument {word!r} of {role.name} has no form in a pod"
            raise BadInput("command line", "format", "k8s", problem, str(stop)) from None
    return pod


def _privileged(pod: ContainerNeeds, _value: bool) -> str:
    pod.security["privileged"] = True
    return "securityContext.privileged"


def _network(pod: ContainerNeeds, value: str) -> str:
    if value != "host":
        raise _NoForm("leave it out: a pod has a network of its own")
    if not pod.needs.host_network:
        return "the pod's own network: peers find it by its Service"
    pod.pod |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    return "hostNetwork"


def _ipc(pod: ContainerNeeds, value: str) -> str:
    if value != "host":
        raise _NoForm("leave it out: a pod has shared memory of its own")
    if pod.shm is None:
        raise _NoForm(f"say how much: {pod.field('shm')}")
    return "not the node's: the volume 'shm' at /dev/shm"


def _shm(pod: ContainerNeeds, value: str) -> str:
    pod.shm = _quantity(value)
    return f"the volume 'shm' at /dev/shm, {pod.shm}"


def _memory(pod: ContainerNeeds, value: str) -> str:
    pod.limits["memory"] = _quantity(value)
    return "resources.limits.memory"


def _quantity(size: str) -> str:
    """docker's size in Kubernetes' words: 8g is 8Gi."""
    text = size.lower().removesuffix("b")
    return text[:-1] + {"k": "Ki", "m": "Mi", "g": "Gi", "t": "Ti"}[text[-1]] if text[-1] in "kmgt" else text


def _cpuset(_pod: ContainerNeeds, _value: str) -> str:
    return "LEFT TO THE NODES: which cores, their kubelet's CPU manager decides"


def _gpus(pod: ContainerNeeds, value: str | int | list[str]) -> str:
    if isinstance(value, list):
        return f"{_accelerators(pod, len(value))}; which ones, the cluster decides"
    return _accelerators(pod, value if isinstance(value, int) else _opened(pod))


def _runtime(pod: ContainerNeeds, value: str) -> str:
    outcome = _accelerators(pod, _opened(pod))
    if pod.needs.runtime_class is None:
        return f"{outcome}; the nodes' own container runtime must be {value}'s"
    pod.pod["runtimeClassName"] = pod.needs.runtime_class
    return f"{outcome}, runtimeClassName {pod.needs.runtime_class}"


def _accelerators(pod: ContainerNeeds, count: int) -> str:
    resource = pod.needs.accelerator
    if resource is None:
        raise _NoForm(f"name its resource: {pod.field('accelerator')}")
    pod.limits[resource] = str(count)
    return f"{resource}: {count}" + (", what its command opens" if count == _opened(pod) else "")


def _opened(pod: ContainerNeeds) -> int:
    """Accelerators that the engine's command opens: one a rank."""
    return parse(engine_words(pod.role.argv), pod.options).ranks


def _capability(pod: ContainerNeeds, value: str) -> str:
    pod.capabilities.append(value)
    return "securityContext.capabilities"


def _device(pod: ContainerNeeds, value: str) -> str:
    resource = pod.facts.devices.get(value)
    if resource is None:
        raise _NoForm("name the resource that stands for it: kubernetes.devices in env/defaults.yaml")
    pod.limits[resource] = "1"
    return f"{resource}: 1, from a device plugin"


def _environment(pod: ContainerNeeds, value: tuple[str, str]) -> str:
    name, content = value
    if name in pod.needs.plugin_env:
        return "left out: the device plugin sets it to what the pod was given"
    pod.env[name] = content
    return "env"


def _ulimit(_pod: ContainerNeeds, value: tuple[str, Ulimit]) -> str:
    outcome = f"LEFT TO THE NODES: their container runtime's limit of {value[0]}"
    return f"{outcome}; root with IPC_LOCK needs none" if value[0] == "memlock" else outcome


def _volume(pod: ContainerNeeds, value: str) -> str:
    parts = value.split(":")
    if not value.startswith("/") or parts[2:] not in ([], ["ro"], ["rw"]):
        raise _NoForm("give a folder of the node: /there:/here or /there:/here:ro")
    pod.folders.append((parts[0], parts[1], parts[2:] == ["ro"]))
    return "hostPath"


_FORMS: dict[str, Callable[[ContainerNeeds, Any], str]] = {
    "privileged": _privileged,
    "network": _network,
    "ipc": _ipc,
    "shm_size": _shm,
    "memory": _memory,
    "cpuset": _cpuset,
    "gpus": _gpus,
    "runtime": _runtime,
    "cap_add": _capability,
    "devices": _device,
    "env": _environment,
    "ulimits": _ulimit,
    "volumes": _volume,
}
