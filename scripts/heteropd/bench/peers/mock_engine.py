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
from typing import Any, cast

import httptools  # type: ignore[import-not-found]
import uvloop  # type: ignore[import-not-found]

MODEL = "mock"
ENGINE_ID = "mock-engine"
# Blocks of 16 tokens of the source document's 199-token prompt.
BLOCKS = list(range(1, 14))
TEXT = (
    " He has been the subject of multiple lawsuits regarding the creation and ownership of the website." * 5
)


class Counts:
    """Completions served, by what their ``kv_transfer_params`` asked for; paths that are not served."""

    def __init__(self) -> None:
        self.kinds = {"prefill": 0, "decode": 0, "plain": 0}
        self.unknown: dict[str, int] = {}

    def take(self, params: object) -> str:
        """Count one completion and return its kind."""
        asked = params if isinstance(params, dict) else {}
        if asked.get("do_remote_decode"):
            kind = "prefill"
        elif asked.get("do_remote_prefill") and asked.get("remote_block_ids") == BLOCKS:
            kind = "decode"
        else:
            kind = "plain"
        self.kinds[kind] += 1
        return kind


def completion(kv_transfer_params: dict[str, Any] | None, tokens: int) -> bytes:
    """A completion as vLLM 0.32 shapes it, as a whole HTTP response."""
    choice = {"index": 0, "text": TEXT, "logprobs": None, "finish_reason": "length", "stop_reason": None}
    usage = {"prompt_tokens": 199, "total_tokens": 199 + tokens, "completion_tokens": tokens}
    head = {"id": "cmpl-mock", "object": "text_completion", "created": 1766014426, "model": MODEL}
    return _response({**head, "choices": [choice], "usage": usage, "kv_transfer_params": kv_transfer_params})


def _response(body: object, status: str = "200 OK") -> bytes:
    payload = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    return head.encode() + payload


class Engine(asyncio.Protocol):
    """One connection. Requests on it are answered in order, as HTTP/1.1 without pipelining needs."""

    def __init__(self, port: int, counts: Counts) -> None:
        self._counts = counts
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._body = b"", b""
        pulled = {
            "do_remote_prefill": True, "do_remote_decode": False, "remote_block_ids": BLOCKS,
            "remote_engine_id": ENGINE_ID, "remote_request_id": "cmpl-mock", "remote_host": "127.0.0.1",
            "remote_port": port, "tp_size": 1,
        }  # fmt: skip
        self._answers = {
            "prefill": completion(pulled, 1),
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
            return self._answers[self._counts.take(json.loads(self._body).get("kv_transfer_params"))]
        if self._path == b"/health":
            return _response({})
        if self._path == b"/v1/models":
            return _response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if self._path == b"/counts":
            return _response({**self._counts.kinds, "unknown": self._counts.unknown})
        path = self._path.decode(errors="replace")
        self._counts.unknown[path] = self._counts.unknown.get(path, 0) + 1
        return _response({"error": "not served"}, "404 Not Found")


async def serve(port: int) -> None:
    """Serve on loopback until cancelled. Raises OSError when the port is taken."""
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(
        lambda: Engine(port, counts), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
