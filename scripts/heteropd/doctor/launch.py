"""The command that runs a program in an engine's place on its host, with the environment of the plan."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from heteropd import ucx
from heteropd.doctor import programs
from heteropd.doctor.model import EngineTarget
from heteropd.export.bash import quote

# UCX opens every card whose module it loads, whatever UCX_TLS says, and an engine may hold the card. mlx5's
# gda and gdp are linked to the CUDA module, so that they bring it along.
_NO_DEVICES = {
    "UCX_MODULES": "^cuda,gdrcopy,gda,gdp,gaudi,rocm,ze",
    "CUDA_VISIBLE_DEVICES": "",
    "HABANA_VISIBLE_DEVICES": "",
}


def without_devices(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program that moves host memory only: UCX leaves accelerators alone.

    UCX_TLS goes on naming their transports: where NIXL sees an NVIDIA card, it refuses a list without them
    (ai-dynamo/nixl#1617), whether UCX has them or not.
    """
    variables = dict(env) | _NO_DEVICES
    named = ucx.transports(variables)
    if named.mode == "named" and named.words and all(map(ucx.is_of_device, named.words)):
        variables[ucx.TLS] += ",self"
    return variables


def nixl(engine: EngineTarget, program: str, request: Mapping[str, Any], log: str) -> list[str]:
    """A program that uses the engine's NIXL. ``log``: how much UCX says."""
    assert engine.python is not None, "asked for where it is known"
    # UCX writes to stdout as a C program does: what it has not flushed when the program ends is lost.
    variables = without_devices(engine.env) | {"UCX_LOG_LEVEL": log, "UCX_LOG_FILE": "stderr"}
    exports = "; ".join(f"export {key}={quote(value)}" for key, value in variables.items())
    script = f'{exports}; exec "$1" -c "$2" "$3"'
    words = (engine.python, programs.text(program), json.dumps(request))
    return [*engine.launch, "-c", script, "heteropd-probe", *words]


def plain(python: str | None, program: str, request: Mapping[str, Any]) -> Sequence[str]:
    """A program that needs Python alone."""
    return [python or "python3", "-c", programs.text(program), json.dumps(request)]
