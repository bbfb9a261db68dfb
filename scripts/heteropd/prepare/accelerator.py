"""A real CUDA engine as a process of this machine: what it needs before anything is made, and its Python."""

import json
import os
import shutil
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

from heteropd.config.env import Env
from heteropd.config.platforms import ProcessNeeds
from heteropd.errors import MissingPrerequisite
from heteropd.plan.model import Plan, RolePlan
from heteropd.prepare import environments
from heteropd.prepare.environments import Environment, Say
from heteropd.system import CommandRunner

_QUERY = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.free"]
_FORMAT = "--format=csv,noheader,nounits"
_WITHOUT = "use standin=all (CPU stand-ins for both), or a machine with an NVIDIA GPU"
_CONNECTOR = "--kv-transfer-config"
_SHARE = "--gpu-memory-utilization"
_VERSION = "import importlib.metadata as packages; print(packages.version('vllm'))"
_GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """A card as nvidia-smi lists it; memory in MiB."""

    name: str
    driver: str
    total: int
    free: int


def find_gpu(runner: CommandRunner) -> Gpu | None:
    """The first NVIDIA card that the driver lists, as CUDA would take it; None where there is none."""
    try:
        listing = runner.run([*_QUERY, _FORMAT], timeout_s=20)
    except OSError:
        return None
    words = [word.strip() for word in listing.out.partition("\n")[0].split(",")]
    if listing.code != 0 or len(words) != 4 or not (words[2] + words[3]).isdigit():
        return None
    return Gpu(words[0], words[1], int(words[2]), int(words[3]))


def require_gpu(engine: RolePlan, needs: ProcessNeeds, runner: CommandRunner) -> Gpu:
    """The card that the engine will have. Raises MissingPrerequisite for none, or one that will not do."""
    gpu = find_gpu(runner)
    if gpu is None:
        problem = f"{engine.name} is to be real, and no NVIDIA driver lists a GPU here"
        raise MissingPrerequisite(problem, _WITHOUT)
    if int(gpu.driver.partition(".")[0]) < needs.driver:
        problem = f"{engine.name} needs NVIDIA driver {needs.driver} or newer, and this is {gpu.driver}"
        raise MissingPrerequisite(problem, f"update the driver, or {_WITHOUT}")
    share = float(_value(engine, _SHARE) or 0)
    if gpu.free < share * gpu.total:
        problem = (
            f"{engine.name} takes {share * gpu.total / 1024:.1f} GiB of GPU memory, and the {gpu.name} has"
            f" {gpu.free / 1024:.1f} GiB free"
        )
        raise MissingPrerequisite(problem, "end what uses it (nvidia-smi lists it)")
    return gpu


def python_of(plan: Plan, known: Env, root: Path, runner: CommandRunner, say: Say) -> Path | None:
    """The Python of the plan's real engine; None without one. Asks for the GPU and the driver first.

    Raises MissingPrerequisite, `KitError`.
    """
    real = next((role for role in plan.engines if not role.standin), None)
    if real is None:
        return None
    needs = known.platforms[real.runs_on].process
    assert needs is not None, "a plan has no other real engine on this machine"
    gpu = require_gpu(real, needs, runner)
    say(f"{real.name} runs on this machine's {gpu.name} (driver {gpu.driver})")
    given = plan.parameters.get("engine_python")
    if given:
        require_vllm(Path(str(given)), known.pins[plan.pins].vllm, runner, connector_module(real))
        return Path(str(given))
    lock = known.images.images["cuda"].locks[0].format(pins=plan.pins)
    return ensure_python(lock, needs, root, runner, say)


def ensure_python(lock: str, needs: ProcessNeeds, root: Path, runner: CommandRunner, say: Say) -> Path:
    """The Python of the environment of real engines, made from ``lock`` unless it is current.

    Raises MissingPrerequisite for too little disk, `KitError` where an installation fails.
    """
    wanted = Environment("engine-cuda", (lock,), projects=(environments.ENGINE_PROJECT,), published=True)
    if not environments.is_current(wanted, root):
        free = shutil.disk_usage(root).free / _GIB
        if free < needs.disk_gib:
            problem = f".nox/engine-cuda needs {needs.disk_gib:.0f} GiB, and {root} has {free:.1f} GiB free"
            raise MissingPrerequisite(problem, "free some, or give engine_python=PATH of a Python with vLLM")
        environments.ensure(wanted, root, runner, say)
    return wanted.python(root)


def connector_module(engine: RolePlan) -> str | None:
    """The module of ours that the engine's KV connector comes from; None for one of vLLM's own."""
    config = json.loads(_value(engine, _CONNECTOR) or "{}")
    module: str | None = config.get("kv_connector_module_path")
    return module


def _value(engine: RolePlan, option: str) -> str | None:
    """What an option ends up with, be it given as two words or as OPTION=VALUE; None without it."""
    split = (word.split("=", 1) if word.startswith("--") else [word] for word in engine.argv)
    words = pairwise(chain.from_iterable(split))
    return next((value for name, value in reversed([*words]) if name == option), None)


def require_vllm(python: Path, vllm: str, runner: CommandRunner, connector: str | None = None) -> None:
    """Raise MissingPrerequisite unless a site's own Python has that vLLM and ``connector``'s package."""
    if not os.access(python, os.X_OK):
        problem = f"engine_python={python} is not a program that can be run"
        raise MissingPrerequisite(problem, "name the Python of an environment that has vLLM")
    answer = runner.run([str(python), "-P", "-c", _VERSION], timeout_s=60)
    found = answer.out.strip().partition("+")[0] if answer.code == 0 else "no vLLM"
    if found != vllm:
        problem = f"engine_python={python} has {found}, and the stand-in beside it runs vLLM {vllm}"
        raise MissingPrerequisite(problem, f"install vllm=={vllm} there, or leave engine_python out")
    package = connector and connector.partition(".")[0]
    if package and runner.run([str(python), "-P", "-c", f"import {package}"], timeout_s=60).code != 0:
        problem = f"engine_python={python} has no {package}, of which the engine is to load {connector}"
        fix = f"{python} -m pip install --no-deps scripts/{package}, or leave digest= or engine_python= out"
        raise MissingPrerequisite(problem, fix)
