"""An engine's middleware that keeps KV from being fetched after its lease: vLLM's decode checks none itself.

Past the lease a prefill uses the blocks for other prompts, and a decode that fetches then reads those: HTTP
200, wrong from the first token (docs/operations.md). Here the prefill says in its answer until when its KV is
leased, routers pass that on with the rest of ``kv_transfer_params``, and the decode refuses a request that
comes later, or that does not say it. While a request waits inside the decode, vLLM's heartbeats renew the
lease.

    vllm serve … --middleware heteropd_engine.lease_guard.LeaseGuard  # HETEROPD_LEASE_S of both engines

Imports nothing of the kit, so that any image can have this file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

LEASE_S = "HETEROPD_LEASE_S"
PARAMS, ENDS = "kv_transfer_params", "heteropd_lease_ends"
# Two hosts' clocks may differ by this much: the doctor's T3-58-clock-skew allows no more.
MARGIN_S = 5.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class LeaseGuard:
    """ASGI middleware around an engine's API, prefill or decode. Raises KeyError without HETEROPD_LEASE_S."""

    def __init__(self, app: App) -> None:
        self._app, self._lease_s = app, float(os.environ[LEASE_S])

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on; refuse one that would fetch KV too late; stamp what is handed over."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body, again = await _read(receive)
        params = _params(body)
        if params.get("do_remote_prefill"):
            trouble = _too_late(params.get(ENDS))
            if trouble:
                await _refuse(send, trouble)
                return
        await self._app(scope, again, self._stamping(send) if params.get("do_remote_decode") else send)

    def _stamping(self, send: Send) -> Send:
        """Adds the end of the lease to an answer that hands KV over; anything else goes through as it is."""
        held: list[Message] = []
        chunks: list[bytes] = []

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                held.append(message)
                return
            chunks.append(message.get("body", b""))
            if message.get("more_body"):
                return
            start, body = held[0], b"".join(chunks)
            changed = _with_end(body, time.time() + self._lease_s - MARGIN_S)
            if changed is not None:
                kept = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
                start["headers"] = [*kept, (b"content-length", str(len(changed)).encode())]
            await send(start)
            await send({"type": "http.response.body", "body": body if changed is None else changed})

        return stamped


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """The request's body, and a ``receive`` that gives it once more and then goes on."""
    chunks: list[bytes] = []
    waiting: list[Message] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the client is gone already
            waiting = [message]
            break
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"".join(chunks)
    waiting = waiting or [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return body, again


def _params(body: bytes) -> dict[str, Any]:
    if PARAMS.encode() not in body:
        return {}
    try:
        found = json.loads(body)
    except ValueError:
        return {}  # the engine says what is wrong with it
    params = found.get(PARAMS) if isinstance(found, dict) else None
    return params if isinstance(params, dict) else {}


def _too_late(ends: object) -> str | None:
    if not isinstance(ends, int | float):
        return (
            f"{PARAMS} does not say until when the KV is leased ({ENDS}): does something on the way drop it?"
        )
    late = time.time() - ends
    if late <= 0:
        return None
    return f"the KV lease of this prompt ended {late:.1f} s ago by this host's clock: prefill it again"


def _with_end(body: bytes, ends: float) -> bytes | None:
    """The answer with the end of its lease; None for one that hands nothing over."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    params = found.get(PARAMS) if isinstance(found, dict) else None
    if not isinstance(params, dict) or not params.get("do_remote_prefill"):
        return None
    params[ENDS] = ends
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


async def _refuse(send: Send, why: str) -> None:
    body = json.dumps(
        {"error": {"message": why, "type": "LeaseExpired", "param": None, "code": 503}}
    ).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
