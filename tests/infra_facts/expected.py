"""What env/ says of an engine's Python, and the program that reads what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from heteropd.config.env import Env
from heteropd.images import recipe
from heteropd.images.contents_expected import expected
from heteropd.plan.model import Plan, RolePlan

# Run with the engine's own Python, isolated from the environment of whoever looks.
PROGRAM = """
import json, platform
from importlib.metadata import distributions
print(json.dumps({
    "version": platform.python_version(), "machine": platform.machine(),
    "packages": [[one.metadata["Name"], one.version] for one in distributions()],
}))
"""


def versions(engine: RolePlan, plan: Plan, env: Env, root: Path, python: Mapping[str, Any]) -> dict[str, str]:
    """Packages by canonical name: what the locks install on that Python, and what an image builds itself.

    Raises BadInput where the pin set has no lock yet.
    """
    image = next(name for name in env.images.images if name == engine.runs_on)
    wanted = expected(recipe.choose(image, plan.pins, plan.variant, env), env, root)
    locked = wanted.locked(python)
    if wanted.nixl is not None and wanted.nixl.package and wanted.nixl_version:
        locked.setdefault(canonicalize_name(wanted.nixl.package), wanted.nixl_version)
    if wanted.vllm and not any(name.startswith("vllm") for name in locked):
        locked["vllm"] = wanted.vllm
    return locked


def installed(python: Mapping[str, Any]) -> dict[str, str]:
    """Versions by canonical name, of what `PROGRAM` printed; the first on the path wins, as in an import."""
    versions_by_name: dict[str, str] = {}
    for name, version in python["packages"]:
        if name:
            versions_by_name.setdefault(canonicalize_name(name), version)
    return versions_by_name
