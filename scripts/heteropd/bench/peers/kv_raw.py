"""The raw transport under a hand-over: one process holds memory, another reads it over NIXL as a decode does.

``hold FILE MEMORY BYTES`` registers memory and writes into FILE how to reach it; it stays until it is ended.
``read FILE MEMORY COUNT:SIZE …`` reads COUNT descriptors of SIZE bytes each and prints its seconds.
MEMORY is VRAM or DRAM. Needs NIXL and torch, nothing of the kit.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from nixl._api import nixl_agent, nixl_agent_config

_ROUNDS = 12
_WAIT_S = 60.0
_THREADS = 4  # vLLM's


def memory(kind: str, size: int) -> torch.Tensor:
    """Memory of a kind, written once so that it is there."""
    return torch.ones(size, dtype=torch.uint8, device="cuda" if kind == "VRAM" else "cpu")


def agent(name: str) -> Any:
    """An agent as vLLM's connector makes it."""
    return nixl_agent(name, nixl_agent_config(num_threads=_THREADS, capture_telemetry=True))


def hold(file: Path, kind: str, size: int) -> None:
    """Hold memory until somebody ends this."""
    area, own = memory(kind, size), agent("holder")
    own.register_memory([(area.data_ptr(), size, 0, "")], kind)
    card = {"metadata": own.get_agent_metadata().hex(), "address": area.data_ptr(), "kind": kind}
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(card))
    draft.replace(file)
    signal.pause()


def read(file: Path, kind: str, patterns: list[tuple[int, int]]) -> None:
    """Read every pattern and print what it took."""
    size = max(count * each for count, each in patterns)
    area, own = memory(kind, size), agent("reader")
    own.register_memory([(area.data_ptr(), size, 0, "")], kind)
    began = time.monotonic()
    while not file.exists():
        if time.monotonic() - began > _WAIT_S:
            raise TimeoutError(f"{file} does not appear")
        time.sleep(0.05)
    card = json.loads(file.read_text())
    peer = own.add_remote_agent(bytes.fromhex(card["metadata"]))
    peer = peer.decode() if isinstance(peer, bytes) else peer
    for count, each in patterns:
        # Every second place, as blocks of one prompt lie: neighbours would be joined to one read.
        order = [*range(0, count, 2), *range(1, count, 2)]
        local = [(area.data_ptr() + nth * each, each, 0) for nth in range(count)]
        remote = [(card["address"] + nth * each, each, 0) for nth in order]
        handle = own.initialize_xfer(
            "READ", own.get_xfer_descs(local, kind), own.get_xfer_descs(remote, card["kind"]), peer, b""
        )
        seconds = [_transfer(own, handle) for _ in range(_ROUNDS)]
        own.release_xfer_handle(handle)
        print(json.dumps({"descriptors": count, "each": each, "seconds": seconds}), flush=True)


def _transfer(own: Any, handle: Any) -> float:
    began = time.perf_counter()
    state = own.transfer(handle)
    while state == "PROC":
        state = own.check_xfer_state(handle)
    if state != "DONE":
        raise RuntimeError(f"the transfer ended as {state}")
    return time.perf_counter() - began


def main() -> None:
    """Hold or read, as the words say."""
    what, file, kind, *rest = sys.argv[1:]
    if what == "hold":
        hold(Path(file), kind, int(rest[0]))
    else:
        pairs = [text.split(":") for text in rest]
        read(Path(file), kind, [(int(count), int(each)) for count, each in pairs])
    sys.stdout.flush()
    os._exit(0)  # UCX from a wheel may crash when it is unloaded


if __name__ == "__main__":
    main()
