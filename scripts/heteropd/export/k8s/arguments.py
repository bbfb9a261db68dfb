"""What container arguments ask of a pod. Each is mapped, or said to be left to the cluster, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from heteropd.config.platforms import Kubernetes, Pod
from heteropd.errors import BadInput
from heteropd.plan.model import RolePlan


@dataclass
class ContainerNeeds:
    """What a pod gets. ``said`` tells for each argument, as given, what became of it."""

    role: RolePlan
    needs: Pod
    facts: Kubernetes
    shm: str | None
    pod: dict[str, Any] = field(default_factory=dict)
    security: dict[str, Any] = field(default_factory=dict)
    capabilities: list[str] = field(default_factory=list)
    limits: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    folders: list[tuple[str, str, bool]] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)

    def field(self, name: str) -> str:
        """Where env/ says what the pod needs, for a fix."""
        if self.role.role == "router":
            return f"kubernetes.router.{name} in env/defaults.yaml"
        return f"kubernetes.{name} in env/platforms/{self.role.runs_on}.yaml"


class _CannotSay(Exception):
    """Carries the fix."""


def read(role: RolePlan, needs: Pod, facts: Kubernetes) -> ContainerNeeds:
    """Read the role's container arguments. Raises BadInput for one that has no form in a pod."""
    asked = ContainerNeeds(role, needs, facts, needs.shm)
    assert role.container is not None, "refused before"
    for word in [*role.container.args, *role.container.device_args]:
        option, _, value = word.partition("=")
        try:
            if option not in _KNOWN:
                raise _CannotSay("use format=bash or format=compose")
            asked.said[word] = _KNOWN[option](asked, value)
        except _CannotSay as stop:
            problem = f"the container argument {word!r} of {role.name} has no form in a pod"
            raise BadInput("command line", "format", "k8s", problem, str(stop)) from None
    return asked


def _privileged(asked: ContainerNeeds, _value: str) -> str:
    asked.security["privileged"] = True
    return "securityContext.privileged"


def _network(asked: ContainerNeeds, value: str) -> str:
    if value != "host":
        raise _CannotSay("leave it out: a pod has a network of its own")
    if not asked.needs.host_network:
        return "the pod's own network: peers find it by its Service"
    asked.pod |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    return "hostNetwork"


def _ipc(asked: ContainerNeeds, value: str) -> str:
    if value != "host":
        raise _CannotSay("leave it out: a pod has shared memory of its own")
    if asked.shm is None:
        raise _CannotSay(f"say how much: {asked.field('shm')}")
    return "not the node's: the volume 'shm' at /dev/shm"


def _shm(asked: ContainerNeeds, value: str) -> str:
    found = re.fullmatch(r"(\d+)([bkmg]?)b?", value.lower())
    if not found:
        raise _CannotSay("write it as 8g or 512m")
    asked.shm = found[1] + {"k": "Ki", "m": "Mi", "g": "Gi"}.get(found[2], "")
    return f"the volume 'shm' at /dev/shm, {asked.shm}"


def _gpus(asked: ContainerNeeds, value: str) -> str:
    if value != "all" and not value.isdigit():
        raise _CannotSay("the cluster chooses the device: --gpus=all, or a number")
    return _accelerators(asked, int(value) if value.isdigit() else _opened(asked))


def _runtime(asked: ContainerNeeds, value: str) -> str:
    said = _accelerators(asked, _opened(asked))
    if asked.needs.runtime_class is None:
        return f"{said}; the nodes' own container runtime must be {value}'s"
    asked.pod["runtimeClassName"] = asked.needs.runtime_class
    return f"{said}, runtimeClassName {asked.needs.runtime_class}"


def _accelerators(asked: ContainerNeeds, count: int) -> str:
    resource = asked.needs.accelerator
    if resource is None:
        raise _CannotSay(f"name its resource: {asked.field('accelerator')}")
    asked.limits[resource] = str(count)
    return (
        f"{resource}: {count}, what its command opens" if count == _opened(asked) else f"{resource}: {count}"
    )


def _opened(asked: ContainerNeeds) -> int:
    """Accelerators that the engine's command opens: the product of its parallel sizes."""
    words = [part for word in asked.role.argv for part in _split(word)]
    given = {word: after for word, after in zip(words, [*words[1:], ""], strict=True) if after.isdigit()}
    return prod(int(given[name]) for name in asked.facts.multipliers if name in given)


def _split(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("-") else [word]


def _capability(asked: ContainerNeeds, value: str) -> str:
    asked.capabilities.append(value)
    return "securityContext.capabilities"


def _device(asked: ContainerNeeds, value: str) -> str:
    resource = asked.facts.devices.get(value)
    if resource is None:
        raise _CannotSay("name the resource that stands for it: kubernetes.devices in env/defaults.yaml")
    asked.limits[resource] = "1"
    return f"{resource}: 1, from a device plugin"


def _environment(asked: ContainerNeeds, value: str) -> str:
    name, _, content = value.partition("=")
    if name in asked.needs.plugin_env:
        return "left out: the device plugin sets it to what the pod was given"
    asked.env[name] = content
    return "env"


def _ulimit(_asked: ContainerNeeds, value: str) -> str:
    name = value.partition("=")[0]
    said = f"LEFT TO THE NODES: their container runtime's limit of {name}"
    return f"{said}; root with IPC_LOCK needs none" if name == "memlock" else said


def _volume(asked: ContainerNeeds, value: str) -> str:
    parts = value.split(":")
    if not value.startswith("/") or len(parts) not in (2, 3) or parts[2:] not in ([], ["ro"], ["rw"]):
        raise _CannotSay("give a folder of the node: /there:/here or /there:/here:ro")
    asked.folders.append((parts[0], parts[1], parts[2:] == ["ro"]))
    return "hostPath"


_KNOWN: dict[str, Callable[[ContainerNeeds, str], str]] = {
    "--privileged": _privileged,
    "--net": _network,
    "--network": _network,
    "--ipc": _ipc,
    "--shm-size": _shm,
    "--gpus": _gpus,
    "--runtime": _runtime,
    "--cap-add": _capability,
    "--device": _device,
    "--env": _environment,
    "--ulimit": _ulimit,
    "--volume": _volume,
}
