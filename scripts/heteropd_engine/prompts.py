"""Which prompts a prefill's step completes, and in which blocks they lie. Scheduler side; needs vLLM."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.utils import yield_req_data


@dataclass(frozen=True)
class CompletedPrompt:
    """A prompt whose last chunk is in a step: the blocks it holds, in token order, and its tokens so far."""

    request_id: str
    blocks: list[int]
    tokens: int


@dataclass
class _Prompt:
    request: Any
    blocks: list[int] = field(default_factory=list)


class PromptTracker:
    """Follows requests from their first blocks to their last chunk, through preemption."""

    def __init__(self) -> None:
        self._prompts: dict[str, _Prompt] = {}

    def follow(self, request: Any) -> None:
        """Follow a request from now on; no harm if it is followed already."""
        self._prompts.setdefault(request.request_id, _Prompt(request))

    def forget(self, request_id: str) -> None:
        """The request is over, however it ended."""
        self._prompts.pop(request_id, None)

    def step(self, scheduler_output: Any) -> list[CompletedPrompt]:
        """What this step completes; once a step, before its forward pass."""
        completed = []
        for request_id, new_blocks, preempted in yield_req_data(scheduler_output):
            prompt = self._prompts.get(request_id)
            if prompt is None:
                continue
            if preempted:
                prompt.blocks.clear()
            if new_blocks:
                prompt.blocks.extend(new_blocks[0])
            tokens = prompt.request.num_computed_tokens + scheduler_output.num_scheduled_tokens[request_id]
            if tokens >= prompt.request.num_prompt_tokens:
                del self._prompts[request_id]
                completed.append(CompletedPrompt(request_id, prompt.blocks, tokens))
        return completed
