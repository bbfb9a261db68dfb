"""The digest in a worker: making it of what was computed, and checking what has arrived."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from vllm.logger import init_logger

from heteropd_engine.digest import arithmetic, handover
from heteropd_engine.digest.arithmetic import Digest
from heteropd_engine.digest.handover import Unreadable
from heteropd_engine.digest.scheduler import Checking, DigestsMade, Making
from heteropd_engine.digest.stats import DigestStats

logger = init_logger(__name__)

Expand = Callable[[list[int]], Sequence[int]]


class DigestWorker:
    """One rank's caches and what is to be done with them.

    ``first_head``: the model's number of the rank's first KV head; ``expand``: the scheduler's blocks as
    those of the caches; ``stats``: the counters of /metrics.
    """

    def __init__(
        self,
        caches: Mapping[str, torch.Tensor],
        first_head: int,
        expand: Expand,
        stats: Callable[[], DigestStats],
    ) -> None:
        self._caches = [caches[name] for name in sorted(caches, key=_layer)]
        self._dtype = str(self._caches[0].dtype).removeprefix("torch.")
        self._first_head, self._expand, self._stats = first_head, expand, stats
        self._checks: dict[str, Checking] = {}
        self._made: dict[str, Digest] = {}

    def make(self, prompts: Mapping[str, Making]) -> None:
        """Digest prompts whose KV is complete and as the model left it."""
        for request_id, prompt in prompts.items():
            try:
                self._made[request_id] = self._digest(prompt.blocks, prompt.tokens, prompt.key)
            except (ValueError, RuntimeError) as problem:  # such as no memory: the prompt goes without
                logger.error("request %s: its KV cannot be digested: %s", request_id, problem)
            else:
                self._stats().count("made")

    def take_made(self) -> DigestsMade | None:
        """What was made since the last call."""
        made, self._made = self._made, {}
        ranks = {request_id: {self._first_head: digest} for request_id, digest in made.items()}
        return DigestsMade(self._dtype, ranks) if ranks else None

    def expect(self, checks: Mapping[str, Checking]) -> None:
        """Prompts whose transfer begins."""
        self._checks.update(checks)

    def forget(self, failed: set[str]) -> None:
        """Requests whose KV does not come."""
        for request_id in failed:
            self._checks.pop(request_id, None)

    def check(self, arrived: set[str], mode: str) -> set[str]:
        """Check prompts that have arrived and are converted; the ones whose KV must not be used."""
        refused = set()
        for request_id in sorted(arrived):
            outcome, problem = self._judge(self._checks.pop(request_id, None))
            self._stats().count(outcome)
            if problem:
                logger.error("request %s: %s (digest=%s)", request_id, problem, mode)
                refused.add(request_id)
        return refused if mode == "enforce" else set()

    def _judge(self, check: Checking | None) -> tuple[str, str | None]:
        """The counter, and in words what is wrong with a prompt's KV."""
        if check is None:
            return "unknown", "its KV cannot be checked: it came unannounced"
        if check.shown is None:
            return "left_out", None
        try:
            shown = handover.decode(check.shown)
            if shown.dtype != self._dtype:
                raise Unreadable(f"the prefill keeps {shown.dtype}, this engine {self._dtype}")
            own = self._digest(check.blocks, check.tokens, shown.key).cpu()
            difference = arithmetic.compare(own, shown.digest, self._first_head, check.cached)
        except (ValueError, RuntimeError) as reason:
            return "unknown", f"its KV cannot be checked: {reason}"
        if difference is None:
            return "equal", None
        named = [f"{name} {number}" for name, number in vars(difference).items() if number is not None]
        return "differs", f"its KV is not what the prefill computed, first in {', '.join(named)}"

    def _digest(self, blocks: list[int], tokens: int, key: int) -> Digest:
        return arithmetic.digest(self._caches, self._expand(blocks), tokens, key, self._first_head)


def _layer(name: str) -> list[tuple[int, str]]:
    """Layers in the model's order, however a platform registers them: numbers in names as numbers."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
