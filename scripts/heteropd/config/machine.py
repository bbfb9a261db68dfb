"""Facts about this machine that a plan depends on, read in one place so that rendering stays pure."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_TOPOLOGY = Path("/sys/devices/system/cpu")


class Machine(BaseModel):
    """``cores``: logical CPUs this process may use, hardware threads of one core side by side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cores: list[int] = Field(min_length=1)


def probe(topology: Path = _TOPOLOGY) -> Machine:
    """What this machine is. Never fails: without topology files every logical CPU counts as a core."""
    allowed = sorted(os.sched_getaffinity(0))
    return Machine(cores=sorted(allowed, key=lambda cpu: (_first_sibling(cpu, topology), cpu)))


def _first_sibling(cpu: int, topology: Path) -> int:
    try:
        text = (topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
        return int(text.replace("-", ",").split(",")[0])
    except (OSError, ValueError):
        return cpu
