"""One side of a transfer over NIXL: writes to the other, reads from it, and compares every byte.

Host memory only, and both ways: the sides take turns, so that each figure is of one transfer alone.
"""

import json
import os
import random
import sys
import time
from typing import Any

import numpy as np

from heteropd.doctor.programs.agent import api, facts, make
from heteropd.doctor.programs.peer import Peer

_WAIT_S = 10.0
_TURN_S = 25.0


class Side:
    """Three buffers of a side: what it has, what the other writes to it, what it reads from the other."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self.agent = make(api(), name)
        self.has = np.frombuffer(bytearray(content(name, size)), dtype=np.uint8)
        self.written, self.read = (np.zeros(size, dtype=np.uint8) for _ in range(2))
        areas = [(area.ctypes.data, size, 0, "") for area in (self.has, self.written, self.read)]
        self.agent.register_memory(areas, "DRAM")

    def card(self) -> dict[str, Any]:
        """What the other side needs to reach this one."""
        metadata = self.agent.get_agent_metadata()
        return {"metadata": metadata.hex(), "has": self.has.ctypes.data, "written": self.written.ctypes.data}

    def transfer(self, kind: str, mine: Any, theirs: int, peer: str) -> float:
        """Seconds that it took. Raises RuntimeError where it fails or does not end."""
        local = self.agent.get_xfer_descs([(mine.ctypes.data, self.size, 0)], "DRAM")
        remote = self.agent.get_xfer_descs([(theirs, self.size, 0)], "DRAM")
        handle = self.agent.initialize_xfer(kind, local, remote, peer, b"")
        begin = time.monotonic()
        state = self.agent.transfer(handle)
        while state == "PROC":
            if time.monotonic() - begin > _WAIT_S:
                raise RuntimeError(f"{kind} did not end within {_WAIT_S:g} s")
            state = self.agent.check_xfer_state(handle)
        if state != "DONE":
            raise RuntimeError(f"{kind} ended as {state}")
        return time.monotonic() - begin


def content(name: str, size: int) -> bytes:
    """Bytes that both sides know, different for each name."""
    return random.Random(name).randbytes(size)  # noqa: S311 - not a secret, both sides make it


def difference(found: Any, wanted: bytes) -> str | None:
    """Where two buffers differ first; None where they are equal."""
    differ = np.flatnonzero(found != np.frombuffer(wanted, dtype=np.uint8))
    return f"{differ.size} of {len(wanted)} bytes, the first at {differ[0]}" if differ.size else None


def turn(side: Side, peer: str, card: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Write to the other and read from it; figures in MB/s, the best of ``rounds``."""
    megabytes = side.size / 1e6
    figures = {}
    for kind, mine, theirs in (("WRITE", side.has, card["written"]), ("READ", side.read, card["has"])):
        seconds = [side.transfer(kind, mine, theirs, peer) for _ in range(rounds)]
        figures[kind] = round(megabytes / min(seconds), 1)
    return figures


def work(peer: Peer, request: dict[str, Any], result: dict[str, Any]) -> None:
    """The whole talk: cards, turns, comparison."""
    side = Side(request["name"], request["mib"] << 20)
    peer.say(side.card())
    card = peer.hear(_TURN_S)
    other = side.agent.add_remote_agent(bytes.fromhex(card["metadata"]))
    other = other.decode() if isinstance(other, bytes) else other
    result["step"] = "transfer"
    if not request["first"]:
        peer.hear(_TURN_S)
    result["mb_s"] = turn(side, other, card, request["rounds"])
    peer.say("done")
    if request["first"]:
        peer.hear(_TURN_S)
    wanted = content(request["other"], side.size)
    result["wrong"] = {"READ": difference(side.read, wanted), "WRITE": difference(side.written, wanted)}
    peer.say("seen")
    peer.hear()


def main() -> None:
    """Run one side; the report says how far it came."""
    request = json.loads(sys.argv[1])
    peer = Peer(request["seconds"])
    result: dict[str, Any] = {"step": "agent", "error": None}
    try:
        work(peer, request, result)
    except Exception as failed:  # NIXL's errors have no common base class
        result["error"] = f"{type(failed).__name__}: {failed}"
    result |= facts(api())
    peer.report(result)
    os._exit(0)  # UCX from a wheel may crash when it is unloaded


if __name__ == "__main__":
    main()
