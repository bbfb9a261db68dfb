"""A NIXL connector that corrupts received KV on demand, to show that validation notices.

For tests only. Loaded on the decode, in either case, with ``"kv_connector": "FaultyConnector",
"kv_connector_module_path": "faults"`` and this folder on the engine's PYTHONPATH. The file that
``HETEROPD_FAULT_FILE`` names holds one of FAULTS or ``none``; it is read for every request, so a test
switches faults while the engines run. No file means ``none``.

Corrupted blocks stay in the decode's prefix cache: give every request a ``cache_salt`` of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.connector import NixlBaseConnector
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.pull_scheduler import NixlPullConnectorScheduler
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.pull_worker import NixlPullConnectorWorker
from vllm.logger import init_logger

from heteropd_engine.standin.connector import StandinDecodeConnector

logger = init_logger(__name__)

FAULT_FILE_VARIABLE = "HETEROPD_FAULT_FILE"
Content = torch.Tensor
"""KV of one prompt in one layer: [block, head, token, K|V], in prompt order."""


def _wrong_layout(kv: Content, _other: Content) -> Content:
    """What a block reads as when the HND/NHD permutation was left out."""
    blocks, heads, tokens, content = kv.shape
    return kv.contiguous().reshape(blocks, tokens, heads, content).transpose(1, 2)


def _swapped_blocks(kv: Content, _other: Content) -> Content:
    return kv.flip(0)


def _shifted_blocks(kv: Content, _other: Content) -> Content:
    return kv.roll(1, 0)


def _last_block_missing(kv: Content, _other: Content) -> Content:
    kept = kv.clone()
    kept[-1] = 0
    return kept


def _k_and_v_swapped(kv: Content, _other: Content) -> Content:
    return torch.cat(kv.chunk(2, dim=-1)[::-1], dim=-1)


def _of_another_prompt(kv: Content, other: Content) -> Content:
    stale = kv.clone()
    count = min(len(kv), len(other))
    stale[:count] = other[:count]
    return stale


def _zero(kv: Content, _other: Content) -> Content:
    return torch.zeros_like(kv)


EVERY_LAYER: dict[str, Callable[[Content, Content], Content]] = {
    "wrong-layout": _wrong_layout,
    "swapped-blocks": _swapped_blocks,
    "shifted-blocks": _shifted_blocks,
    "missing-last-block": _last_block_missing,
    "stale-blocks": _of_another_prompt,
    "kv-swapped": _k_and_v_swapped,
    "never-moved": _zero,
}
_NUMBERS: dict[str, int] = {}


def _number(request_id: str) -> int:
    """Which request it is, in the order in which they came."""
    return _NUMBERS.setdefault(request_id, len(_NUMBERS))


SOME_REQUESTS: dict[str, Callable[[Any], bool]] = {
    "unsalted-only": lambda request: not request.cache_salt,
    "may-stop-only": lambda request: not request.sampling_params.ignore_eos,
    "long-only": lambda request: request.num_prompt_tokens > 300,
    "one-in-ten": lambda request: _number(request.request_id) % 10 == 5,
}
"""Faults that zero the KV of some requests: the scheduler sees which, and tells the worker by a file."""
FAULTS = (*EVERY_LAYER, *SOME_REQUESTS, "one-layer-only", "recomputed")
"""``one-layer-only`` zeroes the middle layer. ``recomputed`` leaves the KV right but moves none of it: the
decode prefills the prompt itself. ``never-moved`` claims the transfer and moves no byte."""


def current_fault() -> str:
    """The fault that the control file asks for. Raises ValueError for a name that does not exist."""
    path = os.environ.get(FAULT_FILE_VARIABLE)
    try:
        name = Path(path).read_text().strip() if path else "none"
    except FileNotFoundError:
        name = "none"
    if name not in (*FAULTS, "none", ""):
        raise ValueError(f"{path}: no fault is called {name!r}; known: {', '.join(FAULTS)}, none")
    return name or "none"


def struck_requests() -> Path:
    """Where the ids of requests are that a fault of SOME_REQUESTS strikes."""
    return Path(os.environ.get(FAULT_FILE_VARIABLE, os.devnull)).with_suffix(".requests")


class FaultyWorker(NixlPullConnectorWorker):
    """Receives like the stock worker, then spoils what arrived."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._previous: dict[str, Content] = {}

    def _read_blocks(self, read_spec: Any, **kwargs: Any) -> bool:
        if current_fault() == "never-moved":
            # The stock path of a full prefix hit: tell the prefill that all is well, and read nothing.
            read_spec = replace(read_spec, local_block_ids=[])
        return super()._read_blocks(read_spec=read_spec, **kwargs)

    def get_transfer_results(self) -> Any:
        receiving = {
            name: list(meta.local_physical_block_ids[0])
            for name, meta in self._recving_metadata.items()
            if meta.local_physical_block_ids
        }
        results = super().get_transfer_results()
        for request_id in results.finished_recving - results.failed_recving:
            if receiving.get(request_id):
                self._spoil(self._fault_of(request_id), torch.tensor(receiving[request_id]))
        return results

    def _fault_of(self, request_id: str) -> str:
        fault = current_fault()
        if fault not in SOME_REQUESTS:
            return fault
        struck = struck_requests()
        return "zeroed" if struck.exists() and request_id in struck.read_text().split() else "none"

    def _spoil(self, fault: str, blocks: torch.Tensor) -> None:
        layers = list(self.device_kv_caches)
        arrived = {layer: self.device_kv_caches[layer][blocks].clone() for layer in layers}
        if fault == "one-layer-only":
            self.device_kv_caches[layers[len(layers) // 2]][blocks] = 0
        elif fault == "zeroed":
            for layer in layers:
                self.device_kv_caches[layer][blocks] = 0
        elif fault in EVERY_LAYER:
            for layer, kv in arrived.items():
                other = self._previous.get(layer, kv.flip(0))
                self.device_kv_caches[layer][blocks] = EVERY_LAYER[fault](kv, other)
        if fault != "none":
            logger.warning("planted fault %s in %d blocks", fault, len(blocks))
        self._previous = arrived


class FaultyConnector(StandinDecodeConnector):
    """A stand-in decode's connector with planted faults."""

    def __init__(self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: Any) -> None:
        # Past the stock pull connector's own __init__, which would make a second worker and NIXL agent.
        NixlBaseConnector.__init__(self, vllm_config, role, kv_cache_config)
        if role == KVConnectorRole.SCHEDULER:
            self.connector_scheduler = NixlPullConnectorScheduler(
                vllm_config, self.engine_id, kv_cache_config
            )
        else:
            self.connector_worker = FaultyWorker(vllm_config, self.engine_id, kv_cache_config)

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int | None, bool]:
        fault = current_fault()
        if fault == "recomputed":
            return 0, False
        if fault in SOME_REQUESTS and SOME_REQUESTS[fault](request):
            with struck_requests().open("a") as stream:
                stream.write(f"{request.request_id}\n")
        return super().get_num_new_matched_tokens(request, num_computed_tokens)
