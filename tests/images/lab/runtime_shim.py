#!/usr/bin/python3
"""An OCI runtime for the tests' own engine: takes out of a container what this machine cannot grant.

A machine without CAP_SYS_RESOURCE refuses `--ulimit memlock=-1`; the plan's arguments must pass there.
Registered as runtime "habana" as well: vendor runtimes add devices, which a machine without them has not.
"""

import json
import os
import resource
import shutil
import sys
from pathlib import Path

_SYS_RESOURCE = 24


def bundle(words: list[str]) -> Path:
    """The folder that `--bundle` names; the current one without it."""
    for index, word in enumerate(words):
        if word in ("--bundle", "-b"):
            return Path(words[index + 1])
        if word.startswith("--bundle="):
            return Path(word.partition("=")[2])
    return Path()


def clamp(process: dict) -> None:
    """Drop the capability that is missing, and lower limits to what we may set."""
    for kind, names in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [name for name in names if name != "CAP_SYS_RESOURCE"]
    for limit in process.get("rlimits") or []:
        hardest = resource.getrlimit(getattr(resource, limit["type"]))[1]
        if hardest != resource.RLIM_INFINITY:
            limit["hard"] = min(limit["hard"], hardest)
            limit["soft"] = min(limit["soft"], limit["hard"])


def granted() -> bool:
    """True where this machine may raise limits."""
    status = Path("/proc/self/status").read_text()
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd"))
    return bool(int(bounding, 16) >> _SYS_RESOURCE & 1)


if __name__ == "__main__":
    if {"create", "run"} & set(sys.argv) and not granted():
        config = bundle(sys.argv) / "config.json"
        spec = json.loads(config.read_text())
        clamp(spec["process"])
        config.write_text(json.dumps(spec))
    runc = shutil.which("runc") or "/usr/sbin/runc"
    os.execv(runc, ["runc", *sys.argv[1:]])
