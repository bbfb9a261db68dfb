"""Keeps the processes of an engine from spinning while they wait for each other.

An engine's scheduler and worker talk through shared memory, and each spins for a second after every message
to answer the next one sooner. With a core to spare that costs nothing; on a stand-in's few cores the waiting
process takes time from the one that it waits for, and from the other engine.
"""

from __future__ import annotations

import importlib
from typing import Any

SPIN_SECONDS = 0.0005
# A notification can be lost while the reader still connects; without a bound it would be waited for a minute.
LONGEST_SLEEP_MS = 50


def rest_between_messages(spin_s: float = SPIN_SECONDS, longest_ms: int = LONGEST_SLEEP_MS) -> None:
    """Let every shared-memory queue made afterwards sleep on its socket instead of spinning."""
    queues: Any = importlib.import_module("vllm.distributed.device_communicators.shm_broadcast")

    class RestingCondition(queues.SpinCondition):  # type: ignore[misc]
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **{"busy_loop_s": spin_s, **named})

        def wait(self, timeout_ms: int | None = None) -> None:
            super().wait(longest_ms if timeout_ms is None else min(timeout_ms, longest_ms))

    queues.SpinCondition = RestingCondition
