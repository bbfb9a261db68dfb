"""One side of a test connection: listens where its engine will, and connects to where the other's will.

Where something listens already, an engine say, connecting to it is enough.
"""

import contextlib
import errno
import socket
import threading
from typing import Any

from heteropd.doctor.programs.peer import Peer, run

_CONNECT_S = 3.0


def listen(address: str, port: int, token: str) -> str:
    """Answer every connection with a token: ``ours``, ``taken`` where something listens, or what is wrong."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen()
    except OSError as failed:
        return "taken" if failed.errno == errno.EADDRINUSE else f"cannot listen there: {failed}"

    def answer() -> None:
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(token.encode())

    threading.Thread(target=answer, daemon=True).start()
    return "ours"


def connect(address: str, port: int, token: str | None) -> str | None:
    """None where it answers, and with the token where one is due; else what happened."""
    try:
        with socket.create_connection((address, port), timeout=_CONNECT_S) as connection:
            if token is None:
                return None
            answer = connection.recv(len(token)).decode(errors="replace")
    except TimeoutError:
        return f"no answer within {_CONNECT_S:g} s"
    except OSError as failed:
        return failed.strerror or str(failed)
    return None if answer == token else "somebody else answers there"


def work(peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
    """Listen, connect, and wait until the other has connected too. Raises GoneError."""
    mine, theirs, token = request["mine"], request["theirs"], request["token"]
    listening = listen(mine[0], mine[1], token)
    peer.say(listening)
    peer_is = peer.hear()
    result: dict[str, Any] = {"listening": listening}
    if peer_is in ("ours", "taken"):
        result["connected"] = connect(theirs[0], theirs[1], token if peer_is == "ours" else None)
    peer.say("connected")
    peer.hear()
    return result


if __name__ == "__main__":
    run(work)
