"""A minimal PD proxy that behaves as the source document's toy proxy does: what the router is compared with.

FastAPI under one uvicorn worker; one httpx.AsyncClient without a time limit for each engine; the prefill
gets the request with one token to make and ``do_remote_decode``; what it returns as ``kv_transfer_params``
goes to the decode engine with the request, whose answer is passed on in pieces as they come.

    python -m heteropd.bench.peers.proxy PORT PREFILL_URL DECODE_URL
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn  # type: ignore[import-not-found]
from fastapi import FastAPI, Request  # type: ignore[import-not-found]
from fastapi.responses import StreamingResponse  # type: ignore[import-not-found]

from heteropd.engine_api.requests import prefill_request


class Proxy:
    """The two clients and the one route."""

    def __init__(self, prefill: str, decode: str) -> None:
        self._prefill = httpx.AsyncClient(base_url=prefill, timeout=None)  # noqa: S113 - as the toy proxy
        self._decode = httpx.AsyncClient(base_url=decode, timeout=None)  # noqa: S113

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        async with self._prefill, self._decode:
            yield

    async def completions(self, request: Request) -> StreamingResponse:
        body: dict[str, Any] = await request.json()
        headers = {"X-Request-Id": str(uuid.uuid4())}
        path = request.url.path
        first = await self._prefill.post(path, json=prefill_request(body), headers=headers)
        first.raise_for_status()
        params = first.json().get("kv_transfer_params")
        if params:
            body["kv_transfer_params"] = params
        return StreamingResponse(self._pieces(path, body, headers), media_type="application/json")

    async def _pieces(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> AsyncIterator[bytes]:
        async with self._decode.stream("POST", path, json=body, headers=headers) as answer:
            answer.raise_for_status()
            async for piece in answer.aiter_bytes():
                yield piece


def application(prefill: str, decode: str) -> FastAPI:
    """The ASGI application over one prefill and one decode engine."""
    # Annotations are strings here and FastAPI resolves them in this module, where Request is known.
    proxy = Proxy(prefill, decode)
    app = FastAPI(lifespan=proxy.lifespan)
    for path in ("/v1/completions", "/v1/chat/completions"):
        app.add_api_route(path, proxy.completions, methods=["POST"], response_model=None)
    return app


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[2], sys.argv[3]), host="127.0.0.1", port=int(sys.argv[1]))
