"""A closed-loop load generator: every client sends its next request when the answer to its last is complete.

uvloop and httptools (llhttp, what uvicorn and Node.js parse HTTP with), because the usual Python clients cost
more for a request than the router does. It prints one JSON object: requests, seconds, latencies and its own
CPU time, by which the caller judges whether the generator was the bottleneck. ``cpu_s`` and ``wall_s`` are of
the load, ``process_cpu_s`` is of the process with its start.

    python -m heteropd.bench.peers.load URL BODY_FILE CLIENTS WARMUP_S MEASURE_S
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools  # type: ignore[import-not-found]
import uvloop  # type: ignore[import-not-found]

from heteropd.bench.figures import percentile

ANSWER_LIMIT_S = 30.0


class LoadWindow:
    """What is measured: answers that are complete between ``opens`` and ``closes`` (monotonic seconds)."""

    def __init__(self, opens: float, closes: float) -> None:
        self.opens, self.closes = opens, closes
        self.latencies: list[float] = []
        self.failures: dict[str, int] = {}

    def take(self, sent: float, now: float, problem: str | None) -> None:
        """Note one answer."""
        if problem is not None:
            self.failures[problem] = self.failures.get(problem, 0) + 1
        elif self.opens <= now < self.closes:
            self.latencies.append(now - sent)


class Client(asyncio.Protocol):
    """One client with one kept-alive connection."""

    def __init__(self, request: bytes, window: LoadWindow, done: asyncio.Future[None]) -> None:
        self._request, self._window, self.done = request, window, done
        self._parser = httptools.HttpResponseParser(self)
        self._sent, self._bytes = 0.0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._window.take(0, 0, f"connection lost ({exc or 'closed by the server'})")
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._bytes += len(body)

    def on_message_complete(self) -> None:
        now, status = time.monotonic(), self._parser.get_status_code()
        problem = f"status {status}" if status != 200 else None if self._bytes else "empty answer"
        self._window.take(self._sent, now, problem)
        if now < self._window.closes:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()

    def _send(self) -> None:
        self._bytes = 0
        self._sent = time.monotonic()
        self._transport.write(self._request)


async def generate(url: str, body: bytes, clients: int, warmup_s: float, measure_s: float) -> LoadWindow:
    """Load ``url`` with POSTs of ``body``. Raises OSError when it cannot connect, TimeoutError on silence."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    loop = asyncio.get_running_loop()
    opens = time.monotonic() + warmup_s
    window = LoadWindow(opens, opens + measure_s)

    async def run_client() -> None:
        client = Client(request, window, loop.create_future())
        await loop.create_connection(lambda: client, host, port)
        await client.done

    everyone = asyncio.gather(*(run_client() for _ in range(clients)))
    await asyncio.wait_for(everyone, warmup_s + measure_s + ANSWER_LIMIT_S)
    return window


def main(argv: list[str]) -> None:
    """Generate load, print what came of it."""
    url, body, clients = argv[0], Path(argv[1]).read_bytes(), int(argv[2])
    warmup_s, measure_s = float(argv[3]), float(argv[4])
    started = time.monotonic(), time.process_time()
    window = uvloop.run(generate(url, body, clients, warmup_s, measure_s))
    latencies = sorted(window.latencies)
    print(json.dumps({
        "requests": len(latencies),
        "seconds": measure_s,
        "p50_ms": percentile(latencies, 50) * 1e3 if latencies else None,
        "p99_ms": percentile(latencies, 99) * 1e3 if latencies else None,
        "failures": window.failures,
        "cpu_s": time.process_time() - started[1],
        "wall_s": time.monotonic() - started[0],
        "process_cpu_s": time.process_time(),
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
