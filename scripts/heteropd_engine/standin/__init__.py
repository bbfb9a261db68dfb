# ruff: noqa: PLC0415 - vLLM is there only in an engine's environment
"""Makes a CPU engine heterogeneous: plain KV blocks in the declared layout and block size.

Loaded by vLLM in the engine's environment through the ``vllm.general_plugins`` entry point. Importing this
package imports neither vLLM nor torch.
"""

from __future__ import annotations

import os

ENABLE_VARIABLE = "HETEROPD_STANDIN"


def leave_as_received(_platform: type, kv_cache: object, indices: object) -> None:
    """In place of what vLLM does with blocks that came from another attention backend: nothing."""
    del kv_cache, indices


def register() -> None:
    """Put the stand-in in place of vLLM's CPU attention; does nothing unless HETEROPD_STANDIN=1."""
    if os.environ.get(ENABLE_VARIABLE) != "1":
        return
    from vllm.platforms.cpu import CpuPlatform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend

    from heteropd_engine.standin.placement import stay_on_bound_cores
    from heteropd_engine.standin.progress import pace_progress_thread
    from heteropd_engine.standin.waiting import rest_between_messages

    register_backend(AttentionBackendEnum.CPU_ATTN, f"{__name__}.backend.StandinBackend")
    for unsupported in (AttentionBackendEnum.CPU_MLA, AttentionBackendEnum.AMX_MLA):
        register_backend(unsupported, f"{__name__}.backend.RefusedMLABackend")
    # What arrives from another backend's engine vLLM packs into CPU attention's own format; ours is plain.
    CpuPlatform.pack_kv_cache = classmethod(leave_as_received)
    pace_progress_thread()
    rest_between_messages()
    stay_on_bound_cores()
