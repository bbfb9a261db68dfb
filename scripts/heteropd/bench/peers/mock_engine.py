"""An engine without a model: speaks as much of vLLM's HTTP as a PD router needs, and answers at once.

It also keeps count of who asked what, because a router that sent whole requests to one engine would be fast
for the wrong reason: ``GET /counts`` gives completions that came as a prefill, as a decode with the block ids
of a prefill, or plain.

    python -m heteropd.bench.peers.mock_engine PORT
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import cast

import httptools  # type: ignore[import-not-found]
import uvloop  # type: ignore[import-not-found]

from heteropd.bench.peers.protocol import MODEL, Kind, completion, kept_blocks, kind_of, response

Counts = Counter[Kind]


class MockEngine(asyncio.Protocol):
    """One connection. Requests on it are answered in order, as HTTP/1.1 without pipelining needs."""

    def __init__(self, port: int, counts: Counts) -> None:
        self._counts = counts
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._body = b"", b""
        self._answers: dict[Kind, bytes] = {
            "prefill": completion(kept_blocks(port), 1),
            "decode": completion(None, 100),
            "plain": completion(None, 100),
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._path, self._body = url, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._transport.write(self._answer())
        if not self._parser.should_keep_alive():
            self._transport.close()

    def _answer(self) -> bytes:
        if self._path in (b"/v1/completions", b"/v1/chat/completions"):
            kind = kind_of(json.loads(self._body))
            self._counts[kind] += 1
            return self._answers[kind]
        if self._path == b"/health":
            return response({})
        if self._path == b"/v1/models":
            return response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if self._path == b"/counts":
            return response({kind: self._counts[kind] for kind in self._answers})
        return response({"error": "not served"}, "404 Not Found")


async def serve(port: int) -> None:
    """Serve on loopback until cancelled. Raises OSError when the port is taken."""
    counts: Counts = Counter()
    server = await asyncio.get_running_loop().create_server(
        lambda: MockEngine(port, counts), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
