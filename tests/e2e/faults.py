"""A NIXL connector that corrupts received KV on demand, to show that validation notices.

For tests only. Loaded on the decode, in either case, with ``"kv_connector": "FaultyConnector"``, or
``FaultyDigestConnector``, ``"kv_connector_module_path": "faults"`` and this folder on the engine's
PYTHONPATH. The file that ``HETEROPD_FAULT_FILE`` names holds one of FAULTS or ``none``; it is read for every
request, so a test switches faults while the engines run. No file means ``none``.

Corrupted blocks stay in the decode's prefix cache: give every request a ``cache_salt`` of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.connector import NixlBaseConnector
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.pull_scheduler import NixlPullConnectorScheduler
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.pull_worker import NixlPullConnectorWorker
from vllm.logger import init_logger

from heteropd_engine.digest.connector import KVDigest
from heteropd_engine.standin.connector import StandinDecodeConnector

logger = init_logger(__name__)

FAULT_FILE_VARIABLE = "HETEROPD_FAULT_FILE"
Content: TypeAlias = torch.Tensor
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


def _swapped_tokens(kv: Content, _other: Content) -> Content:
    """The second and third token of every block."""
    return torch.cat([kv[:, :, [0, 2, 1]], kv[:, :, 3:]], dim=2)


def _swapped_heads(kv: Content, _other: Content) -> Content:
    return kv.flip(1)


def _scaled_k(kv: Content, _other: Content) -> Content:
    keys, values = kv.chunk(2, dim=-1)
    scale = 1.001 if kv.element_size() == 4 else 1.01  # 16 bits round the smaller one away
    return torch.cat([keys * scale, values], dim=-1)


def _one_bit(kv: Content, _other: Content) -> Content:
    """The lowest bit of one element of the fourth token."""
    spoilt = kv.contiguous().clone()
    bits = {2: torch.int16, 4: torch.int32}[spoilt.element_size()]
    spoilt.view(bits)[0, 1, 3, 5] ^= 1
    return spoilt


def _one_head(kv: Content, _other: Content) -> Content:
    spoilt = kv.clone()
    spoilt[:, 1] = 0
    return spoilt


def _first_token(kv: Content, _other: Content) -> Content:
    """The sign of V's first element in the prompt's first token."""
    spoilt = kv.clone()
    spoilt[0, 0, 0, kv.shape[-1] // 2] *= -1
    return spoilt


def _same_text(kv: Content, other: Content) -> Content:
    """The second block is the first of the request before: of the same text, where the prompts repeat it."""
    spoilt = kv.clone()
    spoilt[1] = other[0]
    return spoilt


EVERY_LAYER: dict[str, Callable[[Content, Content], Content]] = {
    "wrong-layout": _wrong_layout,
    "swapped-blocks": _swapped_blocks,
    "shifted-blocks": _shifted_blocks,
    "missing-last-block": _last_block_missing,
    "stale-blocks": _of_another_prompt,
    "kv-swapped": _k_and_v_swapped,
    "never-moved": _zero,
}
# Seen by the KV digest, and not always by validation.
SMALL: dict[str, Callable[[Content, Content], Content]] = {
    "swapped-tokens": _swapped_tokens,
    "swapped-heads": _swapped_heads,
    "scaled-k": _scaled_k,
    "one-bit": _one_bit,
    "one-head-only": _one_head,
    "one-sign": _first_token,
    "same-text": _same_text,
    "last-layer-only": _zero,
}
ONE_LAYER = {"one-bit": -1, "last-layer-only": -1, "one-head-only": 7, "one-sign": 0}
_NUMBERS: dict[str, int] = {}


def _number(request_id: str) -> int:
    """Which request it is, in the order in which they came."""
    return _NUMBERS.setdefault(request_id, len(_NUMBERS))


_PRESENT: set[str] = set()
"""Requests in this decode's scheduler."""
SOME_REQUESTS: dict[str, Callable[[Any], bool]] = {
    "unsalted-only": lambda request: not request.cache_salt,
    "may-stop-only": lambda request: not request.sampling_params.ignore_eos,
    "long-only": lambda request: request.num_prompt_tokens > 300,
    "one-in-ten": lambda request: _number(request.request_id) % 10 == 5,
    "under-load": lambda _request: len(_PRESENT) > 1,
}
"""Faults that zero the KV of some requests: the scheduler sees which, and tells the worker by a file."""
FAULTS = (*EVERY_LAYER, *SMALL, *SOME_REQUESTS, "one-layer-only", "swapped-layers", "recomputed")
"""``one-layer-only`` zeroes the middle layer, ``swapped-layers`` exchanges the fourth and fifth.
``recomputed`` leaves the KV right but moves none of it: the decode computes prompts itself. ``never-moved``
claims the transfer and moves no byte."""
OBSERVE = "observe "
"""Before a fault's name in the control file: the digest is to count only."""


def current_fault() -> str:
    """The fault that the control file asks for. Raises ValueError for a name that does not exist."""
    path = os.environ.get(FAULT_FILE_VARIABLE)
    try:
        name = Path(path).read_text().strip().removeprefix(OBSERVE) if path else "none"
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
        elif fault == "swapped-layers":
            for layer, source in ((layers[3], layers[4]), (layers[4], layers[3])):
                self.device_kv_caches[layer][blocks] = arrived[source]
        elif fault == "zeroed":
            for layer in layers:
                self.device_kv_caches[layer][blocks] = 0
        elif strike := (EVERY_LAYER | SMALL).get(fault):
            for layer in [layers[ONE_LAYER[fault]]] if fault in ONE_LAYER else layers:
                kv = arrived[layer]
                self.device_kv_caches[layer][blocks] = strike(kv, self._previous.get(layer, kv.flip(0)))
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
        _PRESENT.add(request.request_id)
        if fault == "recomputed":
            return 0, False
        if fault in SOME_REQUESTS and SOME_REQUESTS[fault](request):
            with struck_requests().open("a") as stream:
                stream.write(f"{request.request_id}\n")
        return super().get_num_new_matched_tokens(request, num_computed_tokens)

    def request_finished_all_groups(self, request: Any, block_ids: Any) -> Any:
        _PRESENT.discard(request.request_id)
        return super().request_finished_all_groups(request, block_ids)


class FaultyDigestConnector(KVDigest, FaultyConnector):
    """The same with the KV digest before it, whose mode the control file can change."""

    def get_transfer_results(self, finished_req_ids: set[str]) -> Any:
        observe = Path(os.environ[FAULT_FILE_VARIABLE]).read_text().startswith(OBSERVE)
        self._digest_mode = "observe" if observe else "enforce"
        return super().get_transfer_results(finished_req_ids)
