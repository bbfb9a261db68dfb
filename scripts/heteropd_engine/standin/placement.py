"""Keeps an engine on the cores that the plan has bound it to."""

from __future__ import annotations

import importlib
from typing import Any


def stay_on_bound_cores() -> None:
    """Keep NixlConnector from moving a CPU engine's main thread to the last core of each NUMA node.

    It does so to keep a core for transfers, whatever VLLM_CPU_OMP_THREADS_BIND says. With one OpenMP thread
    the main thread is the one that computes: both engines then share the last core, and the others idle.
    vLLM asks `discover_numa_topology` for that purpose alone.
    """
    cpu: Any = importlib.import_module("vllm.platforms.cpu")
    cpu.CpuPlatform.discover_numa_topology = classmethod(lambda _cls: [])
