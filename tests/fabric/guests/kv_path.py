"""The KV path of case 1 without engines: a prompt's KV, HND in blocks of 16, becomes NHD in blocks of 128.

Runs on both guests, after the doctor's programs `agent` and `peer` in one text. The stand-in's model: 30
layers, 3 KV heads of 64, K beside V, float32.
"""

# ruff: noqa: F821 - api, facts, make and Peer are of the programs before it
import json
import os
import sys
import time

import numpy as np

LAYERS, HEADS, CONTENT, TOKENS = 30, 3, 2 * 64, 200
SMALL, LARGE = 16, 128
CHUNK = HEADS * SMALL * CONTENT * 4  # bytes of a small block
WAIT_S = 120.0


def truth(layer):
    """KV of a layer by [token, head, K|V]: every number once, and exact in float32."""
    size = TOKENS * HEADS * CONTENT
    return (np.arange(size, dtype=np.float32) + layer * size).reshape(TOKENS, HEADS, CONTENT)


def prefilled(ids):
    """The prefill's cache [layer, block, head, token, K|V], with the prompt in ``ids``, in order."""
    cache = np.zeros((LAYERS, max(ids) + 1, HEADS, SMALL, CONTENT), dtype=np.float32)
    for layer in range(LAYERS):
        for token, values in enumerate(truth(layer)):
            cache[layer, ids[token // SMALL], :, token % SMALL] = values
    return cache


def converted(cache):
    """[layer, large block, bytes] as received, small blocks in HND one after the other, to NHD."""
    split = cache.reshape(LAYERS, -1, LARGE // SMALL, HEADS, SMALL, CONTENT)
    return split.transpose(0, 1, 2, 4, 3, 5).reshape(LAYERS, -1, HEADS, CONTENT)


def right(cache):
    """Whether [layer, token, head, K|V] holds the prompt's KV."""
    return all(np.array_equal(cache[layer, :TOKENS], truth(layer)) for layer in range(LAYERS))


def prefill(peer):
    """Offer the blocks, scattered as a used cache has them, until the decode has read them."""
    agent = make(api(), "prefill")
    ids = list(range(2 * -(-TOKENS // SMALL), 0, -2))
    cache = prefilled(ids)
    agent.register_memory([(cache.ctypes.data, cache.nbytes, 0, "")], "DRAM")
    starts = [[cache[layer, block].ctypes.data for block in ids] for layer in range(LAYERS)]
    peer.say({"metadata": agent.get_agent_metadata().hex(), "starts": starts})
    peer.hear(WAIT_S)
    return {}


def decode(peer):
    """Read every layer's blocks into large ones, convert, compare."""
    agent = make(api(), "decode")
    large = -(-TOKENS // LARGE)
    cache = np.zeros((LAYERS, large, HEADS * LARGE * CONTENT), dtype=np.float32)
    agent.register_memory([(cache.ctypes.data, cache.nbytes, 0, "")], "DRAM")
    card = peer.hear(WAIT_S)
    name = agent.add_remote_agent(bytes.fromhex(card["metadata"]))
    theirs = [(start, CHUNK, 0) for starts in card["starts"] for start in starts]
    mine = [
        (cache[layer].ctypes.data + index * CHUNK, CHUNK, 0)
        for layer, starts in enumerate(card["starts"])
        for index in range(len(starts))
    ]
    handle = agent.initialize_xfer(
        "READ",
        agent.get_xfer_descs(mine, "DRAM"),
        agent.get_xfer_descs(theirs, "DRAM"),
        name.decode() if isinstance(name, bytes) else name,
        b"",
    )
    state, end = agent.transfer(handle), time.monotonic() + WAIT_S
    while state == "PROC" and time.monotonic() < end:
        state = agent.check_xfer_state(handle)
    seen = {
        "state": state,
        "blocks": len(mine),
        "bytes": len(mine) * CHUNK,
        "right": right(converted(cache)),
        "right_unconverted": right(cache.reshape(LAYERS, -1, HEADS, CONTENT)),
    }
    peer.say("read")
    return seen


asked = json.loads(sys.argv[1])
peer = Peer(int(asked["seconds"]))
found = {"error": None}
try:
    found |= {"prefill": prefill, "decode": decode}[asked["role"]](peer)
except Exception as failed:  # NIXL's errors have no common base class
    found["error"] = f"{type(failed).__name__}: {failed}"
peer.report(found)
os._exit(0)  # UCX from a wheel may crash when it is unloaded
