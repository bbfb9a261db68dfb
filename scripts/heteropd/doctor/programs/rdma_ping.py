"""One side of ibv_rc_pingpong between two declared ports."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from heteropd.doctor.programs.peer import Peer, run

PROGRAM = "ibv_rc_pingpong"
_LISTEN = "0A"
_START_S = 3.0


def command(request: dict[str, Any]) -> list[str]:
    """The program with its port, its GID where it has one, and the peer's address for the client."""
    gid = ["-g", str(request["gid"])] if request["gid"] is not None else []
    where = ["-d", request["device"], "-i", str(request["port"]), "-p", str(request["tcp"])]
    server = [request["server"]] if request["server"] else []
    # `timeout` ends it when we no longer can.
    return ["timeout", str(request["ping_seconds"]), PROGRAM, *where, *gid, "-n", "100", *server]


def listens(port: int) -> bool:
    """Whether somebody listens on the TCP port, by which the two sides find each other."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(name).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                return True
    return False


def work(peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
    """Server first, then client; how each ended. Raises GoneError."""
    peer.say(shutil.which(PROGRAM) is not None)
    theirs = peer.hear()
    if shutil.which(PROGRAM) is None or not theirs:
        return {"missing": shutil.which(PROGRAM) is None}
    if request["server"]:
        peer.hear()
    argv, pipe = command(request), subprocess.PIPE
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    if not request["server"]:
        end = time.monotonic() + _START_S
        while child.poll() is None and not listens(request["tcp"]) and time.monotonic() < end:
            time.sleep(0.05)
        peer.say("listens")
    out, _ = child.communicate()
    return {"code": child.returncode, "out": out[-400:]}


if __name__ == "__main__":
    run(work)
