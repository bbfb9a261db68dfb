"""Tokens a second of engines under a closed loop of streamed completions, counted inside a window of time."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import httpx

from heteropd.errors import KitError


@dataclass(frozen=True)
class TokenTarget:
    """An engine and how many clients load it."""

    url: str
    clients: int


@dataclass
class TokenWindow:
    """Counts tokens that arrive between ``opens`` and ``closes`` (monotonic seconds)."""

    opens: float
    closes: float
    tokens: int = 0

    def take(self, tokens: int, now: float) -> None:
        """Note tokens that arrived at ``now``."""
        if self.opens <= now < self.closes:
            self.tokens += tokens

    @property
    def per_second(self) -> float:
        return self.tokens / (self.closes - self.opens)


@dataclass(frozen=True)
class Load:
    """What every client asks for, again and again, and for how long."""

    model: str
    prompt: str
    max_tokens: int
    warmup_s: float
    measure_s: float

    def request(self) -> dict[str, object]:
        """One request. The salt keeps it out of the prefix cache: every prompt is computed."""
        return {
            "model": self.model, "prompt": self.prompt, "max_tokens": self.max_tokens, "temperature": 0,
            "ignore_eos": True, "cache_salt": uuid4().hex, "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }  # fmt: skip


def measure(targets: Sequence[TokenTarget], load: Load) -> list[float]:
    """Tokens a second of each engine, all loaded at the same time. Raises KitError when a request fails."""
    try:
        return asyncio.run(_measure(targets, load))
    except httpx.HTTPError as problem:
        raise KitError(f"bench: a request failed: {str(problem) or type(problem).__name__}") from None


async def _measure(targets: Sequence[TokenTarget], load: Load) -> list[float]:
    limits, timeout = httpx.Limits(max_connections=None), load.warmup_s + load.measure_s + 120
    # No TLS here; setting it up would take a good part of a second out of the window.
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=timeout, limits=limits) as client:  # noqa: S501
        opens = time.monotonic() + load.warmup_s
        windows = [TokenWindow(opens, opens + load.measure_s) for _ in targets]
        loops = [
            asyncio.create_task(_client(client, target.url, load, window))
            for target, window in zip(targets, windows, strict=True)
            for _ in range(target.clients)
        ]
        done, under_way = await asyncio.wait(
            loops, timeout=load.warmup_s + load.measure_s, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for task in done:
            task.result()
    return [window.per_second for window in windows]


async def _client(client: httpx.AsyncClient, url: str, load: Load, window: TokenWindow) -> None:
    while time.monotonic() < window.closes:
        seen = 0
        async with client.stream("POST", f"{url}/v1/completions", json=load.request()) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                total = completed(line)
                if total is not None:
                    window.take(total - seen, time.monotonic())
                    seen = total
        if seen != load.max_tokens:
            raise KitError(f"bench: {url} made {seen} of {load.max_tokens} tokens")


def completed(line: str) -> int | None:
    """Tokens that the request has made so far, as a line of the stream says; None for any other line."""
    if not line.startswith("data: {"):
        return None
    usage = json.loads(line.removeprefix("data: ")).get("usage")
    return int(usage["completion_tokens"]) if usage else None
