"""Keeps NIXL's progress thread from taking a core that the stand-in's attention needs.

Needs nixl, not vLLM.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

DELAY_MICROSECONDS = 100


def pace_progress_thread(delay_us: int = DELAY_MICROSECONDS) -> bool:
    """Give every NIXL agent made afterwards a progress thread that rests up to ``delay_us`` between polls.

    NIXL's Python API sets the delay to 0 without a way to say otherwise, so the thread spins. Beside a GPU
    that is a core nobody misses; bound to the same core as a CPU engine it takes half of the engine.
    Returns False where there is no NIXL.
    """
    # vLLM sets this just before it imports NIXL, and can no longer once somebody else has (a leak in UCX).
    os.environ.setdefault("UCX_RCACHE_MAX_UNRELEASED", "1024")
    try:
        api: Any = importlib.import_module("nixl._api")
    except ImportError:
        return False

    class PacedConfig(api.nixlBind.nixlAgentConfig):  # type: ignore[misc]
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, delay_us if name == "pthrDelay" and value == 0 else value)

    api.nixlBind.nixlAgentConfig = PacedConfig
    return True
