"""The digest in the scheduler: which prompts a step completes or fetches, and where their digests go."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorWorkerMetadata

from heteropd_engine.digest import arithmetic, handover
from heteropd_engine.digest.arithmetic import Digest
from heteropd_engine.digest.handover import Shown
from heteropd_engine.prompts import PromptTracker


@dataclass(frozen=True)
class Making:
    """A prompt that the worker shall digest after a step: its blocks, tokens, and the key."""

    blocks: list[int]
    tokens: int
    key: int


@dataclass(frozen=True)
class Checking:
    """A prompt that the worker will receive: all its blocks, its tokens, and what the prefill handed over.

    ``cached``: its first tokens that come from this engine's own prefix cache.
    """

    blocks: list[int]
    tokens: int
    cached: int
    shown: Any


@dataclass
class DigestTasks:
    """What the worker shall do in a step."""

    make: dict[str, Making]
    check: dict[str, Checking]


@dataclass
class DigestsMade(KVConnectorWorkerMetadata):
    """What workers have digested in a step: for each request, digests of ranks by their first head.

    They stay on the device until the scheduler needs them, so that no step waits for them.
    """

    dtype: str
    digests: dict[str, dict[int, Digest]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """A scheduler in another process gets them on the CPU: it has no device."""
        return vars(self) | {"digests": {name: _on_cpu(ranks) for name, ranks in self.digests.items()}}

    def aggregate(self, other: KVConnectorWorkerMetadata) -> DigestsMade:
        assert isinstance(other, DigestsMade)
        for request_id, ranks in other.digests.items():
            self.digests.setdefault(request_id, {}).update(ranks)
        return self


class DigestScheduler:
    """Follows prompts on their way out of a prefill and into a decode."""

    def __init__(self, sample: float) -> None:
        self._sample = sample
        self._tracker = PromptTracker()
        self._keys: dict[str, int | None] = {}  # None: left out by the sample
        self._answers: dict[str, dict[str, Any]] = {}
        self._ready: dict[str, dict[str, Any]] = {}
        self._checks: dict[str, Checking] = {}

    def allocated(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        """A request got blocks, and will be computed here or fetched."""
        params = request.kv_transfer_params or {}
        if params.get("do_remote_decode"):
            self._tracker.follow(request)
        if params.get("do_remote_prefill") and num_external_tokens > 0:
            own, tokens = list(blocks.get_block_ids()[0]), request.num_prompt_tokens
            shown = params.get(handover.FIELD, handover.MISSING)
            self._checks[request.request_id] = Checking(own, tokens, tokens - num_external_tokens, shown)

    def step(self, scheduler_output: Any) -> DigestTasks:
        """What the worker shall digest after this step, and check once it has arrived."""
        for request_id in self._answers:  # a worker could not make it: the answer has gone without
            self._keys.pop(request_id, None)
        self._answers.clear()
        make = {}
        for prompt in self._tracker.step(scheduler_output):
            self._keys[prompt.request_id] = None
            if random.random() < self._sample:  # noqa: S311 - faults choose no keys
                key = self._keys[prompt.request_id] = random.getrandbits(64) - 2**63
                make[prompt.request_id] = Making(prompt.blocks, prompt.tokens, key)
        checks, self._checks = self._checks, {}
        return DigestTasks(make, checks)

    def finished(self, request_id: str, params: dict[str, Any] | None) -> None:
        """A request is over; what its answer hands over, ``params``, gets the digest now or in `collect`."""
        self._tracker.forget(request_id)
        ready = self._ready.pop(request_id, None)
        if not params or not params.get("do_remote_prefill"):
            self._keys.pop(request_id, None)
            return
        params[handover.FIELD] = ready or handover.MISSING
        if request_id in self._keys:
            if self._keys[request_id] is None:
                params[handover.FIELD] = self._keys.pop(request_id)
            else:
                self._answers[request_id] = params

    def collect(self, made: object) -> None:
        """Put what workers made into the answers of this step, which vLLM sends only afterwards."""
        if not isinstance(made, DigestsMade):
            return
        for request_id, ranks in made.digests.items():
            key = self._keys.pop(request_id, None)
            if key is None:  # aborted meanwhile
                continue
            whole = arithmetic.join([digest for _, digest in sorted(_on_cpu(ranks).items())])
            digest = handover.encode(Shown(whole, key, made.dtype))
            answer = self._answers.pop(request_id, None)
            if answer is None:
                self._ready[request_id] = digest
            else:
                answer[handover.FIELD] = digest


def _on_cpu(ranks: dict[int, Digest]) -> dict[int, Digest]:
    return {first_head: digest.cpu() for first_head, digest in ranks.items()}
