"""A NIXL agent over UCX, and what it is made of."""

import contextlib
import ctypes
import importlib
import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import Any

_WHEELS = ("nixl_cu12", "nixl_cu13")
_LIBRARY = re.compile(r"/lib(ucp|uct|ucs|ibverbs)(-[0-9a-f]+)?\.so[^/]*$")
_DEVICE = re.compile(r"^/dev/(nvidia|accel|hl\d)")


def api() -> Any:
    """NIXL's Python module. Raises ImportError.

    ``nixl`` asks torch which of its wheels fits, and torch takes seconds: where there is one, it is that.
    """
    wheels = [name for name in _WHEELS if importlib.util.find_spec(name)]
    return importlib.import_module(f"{wheels[0] if len(wheels) == 1 else 'nixl'}._api")


def version(module: Any) -> str | None:
    """The version of the package that the module is from; None where nothing says it."""
    package = Path(module.__file__ or "").parent.name.replace("_", "-")
    for name in (package, "nixl"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def make(module: Any, name: str) -> Any:
    """An agent with the backend UCX. Raises what NIXL raises."""
    return module.nixl_agent(name, module.nixl_agent_config(backends=["UCX"]))


def libraries() -> dict[str, list[str]]:
    """Files that are mapped into this process, by what they are: one each is right."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    files = {line.split(maxsplit=5)[-1] for line in lines if "/" in line}
    found: dict[str, list[str]] = {}
    for file in sorted(files):
        if match := _LIBRARY.search(file):
            found.setdefault(match[1], []).append(file)
    return found


def ucx_version() -> str | None:
    """What the mapped UCX calls itself; None without one."""
    for file in libraries().get("ucp", []):
        library = ctypes.CDLL(file)
        library.ucp_get_version_string.restype = ctypes.c_char_p
        return str(library.ucp_get_version_string().decode())
    return None


def opened() -> list[str]:
    """Accelerators that this process holds: none is right, for an engine may want them."""
    found: set[str] = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(link.readlink()))
    return sorted(file for file in found if _DEVICE.match(file))


def facts(module: Any) -> dict[str, Any]:
    """Versions, libraries and devices of this process; to be called once the agent was tried."""
    return {"nixl": version(module), "ucx": ucx_version(), "libraries": libraries(), "opened": opened()}
