"""Reads hashed lock files: which version of what is installed on one Python."""

from collections.abc import Mapping
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from heteropd.errors import BadInput


def environment(python: str, machine: str) -> dict[str, str]:
    """What markers may ask of CPython on Linux. ``python``: its full version; ``machine``: as uname says."""
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def versions(lock: Path, where: str, markers: Mapping[str, str]) -> dict[str, str]:
    """``{package: version}`` that ``lock`` installs there. Raises BadInput for a line that it cannot read."""
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        fix = "restore it from git"
        raise BadInput(where, None, None, f"cannot be read ({problem.strerror})", fix) from None
    found: dict[str, str] = {}
    for line in lines:
        text = line.removesuffix("\\").strip()
        if not text or text.startswith(("#", "-")):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            fix = "make it anew: make relock"
            raise BadInput(where, "requirement", text, "is not understood", fix) from None
        if requirement.marker is None or requirement.marker.evaluate(dict(markers)):
            pinned = [clause.version for clause in requirement.specifier if clause.operator == "=="]
            found |= {canonicalize_name(requirement.name): version for version in pinned}
    return found
