"""The plan's container arguments, which read as `docker run` takes them, as docker-py wants them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from docker.types import DeviceRequest, Ulimit

from heteropd.errors import BadInput

Options = dict[str, Any]


def parse(args: Sequence[str], where: str) -> Options:
    """Keyword arguments of docker-py's ``containers.create``. Raises BadInput, naming ``where``.

    Known are the arguments that env/ uses and the ones that a site is likely to add there; each is written
    ``--name=value``, or ``--name`` for a switch.
    """
    options: Options = {}
    for word in args:
        name, equals, value = word.partition("=")
        take = _KNOWN.get(name)
        if take is None or (name in _SWITCHES) == bool(equals):
            known = ", ".join(sorted(_KNOWN))
            raise BadInput(where, "container args", word, "is not understood", f"known: {known}")
        try:
            take(options, value)
        except ValueError as problem:
            raise BadInput(where, "container args", word, str(problem), "see `docker run --help`") from None
    return options


def _set(key: str) -> Callable[[Options, str], None]:
    def take(options: Options, value: str) -> None:
        options[key] = value

    return take


def _append(key: str) -> Callable[[Options, str], None]:
    def take(options: Options, value: str) -> None:
        options.setdefault(key, []).append(value)

    return take


def _privileged(options: Options, _value: str) -> None:
    options["privileged"] = True


def _environment(options: Options, value: str) -> None:
    name, _, content = value.partition("=")
    options.setdefault("environment", {})[name] = content


def _ulimit(options: Options, value: str) -> None:
    name, _, limits = value.partition("=")
    soft, _, hard = limits.partition(":")
    options.setdefault("ulimits", []).append(Ulimit(name=name, soft=int(soft), hard=int(hard or soft)))


def _gpus(options: Options, value: str) -> None:
    request: Options = {"capabilities": [["gpu"]]}
    if value == "all":
        request["count"] = -1
    elif value.startswith("device="):
        request["device_ids"] = value.removeprefix("device=").strip('"').split(",")
    else:
        request["count"] = int(value)
    options.setdefault("device_requests", []).append(DeviceRequest(**request))


def _device(options: Options, value: str) -> None:
    path, _, rest = value.partition(":")
    options.setdefault("devices", []).append(f"{path}:{rest or path}" + ("" if ":" in rest else ":rwm"))


_SWITCHES = frozenset({"--privileged"})
_KNOWN: dict[str, Callable[[Options, str], None]] = {
    "--privileged": _privileged,
    "--net": _set("network_mode"),
    "--network": _set("network_mode"),
    "--ipc": _set("ipc_mode"),
    "--pid": _set("pid_mode"),
    "--runtime": _set("runtime"),
    "--user": _set("user"),
    "--shm-size": _set("shm_size"),
    "--cap-add": _append("cap_add"),
    "--group-add": _append("group_add"),
    "--security-opt": _append("security_opt"),
    "--volume": _append("volumes"),
    "--device": _device,
    "--env": _environment,
    "--ulimit": _ulimit,
    "--gpus": _gpus,
}
