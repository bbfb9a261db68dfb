"""A container's options as docker-py takes them. Pure."""

from typing import Any

from docker.types import DeviceRequest, Ulimit

from heteropd.config.container_options import ContainerOptions

# What docker-py calls differently; the other names are the same.
_NAMES = {
    "network": "network_mode",
    "ipc": "ipc_mode",
    "pid": "pid_mode",
    "memory": "mem_limit",
    "cpuset": "cpuset_cpus",
    "env": "environment",
}


def create_options(options: ContainerOptions) -> dict[str, Any]:
    """Keyword arguments of ``containers.create``; only what is said."""
    fields = options.model_dump(exclude_defaults=True)
    named = {_NAMES.get(name, name): value for name, value in fields.items()}
    if "gpus" in named:
        named["device_requests"] = [_gpus(named.pop("gpus"))]
    if "devices" in named:
        named["devices"] = [_device(device) for device in named["devices"]]
    if "ulimits" in named:
        named["ulimits"] = [Ulimit(name=name, **limit) for name, limit in named["ulimits"].items()]
    return named


def _gpus(gpus: str | int | list[str]) -> DeviceRequest:
    wanted = {"device_ids": gpus} if isinstance(gpus, list) else {"count": -1 if gpus == "all" else gpus}
    return DeviceRequest(capabilities=[["gpu"]], **wanted)


def _device(device: str) -> str:
    path, _, rest = device.partition(":")
    inside, _, rights = (rest or path).rpartition(":") if ":" in rest else (rest or path, "", "rwm")
    return f"{path}:{inside}:{rights}"
