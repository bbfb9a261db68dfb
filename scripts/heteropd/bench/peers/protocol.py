"""What PD disaggregation says over HTTP: the part that the mock engines and the minimal proxy share. Pure."""

from __future__ import annotations

import json
from typing import Any, Literal

Kind = Literal["prefill", "decode", "plain"]

MODEL = "mock"
# Blocks of 16 tokens that hold the source document's prompt, 199 tokens by its own account.
PROMPT_TOKENS = 199
BLOCKS = list(range(1, 14))
TEXT = (
    " He has been the subject of multiple lawsuits regarding the creation and ownership of the website." * 5
)


def kept_blocks(port: int) -> dict[str, Any]:
    """The ``kv_transfer_params`` that a prefill answers with: where the decode engine finds the blocks."""
    return {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_block_ids": BLOCKS,
        "remote_engine_id": "mock-engine",
        "remote_request_id": "cmpl-mock",
        "remote_host": "127.0.0.1",
        "remote_port": port,
        "tp_size": 1,
    }


def kind_of(request: dict[str, Any]) -> Kind:
    """What a completion request asks of an engine. A decode must bring the blocks that a prefill kept."""
    params = request.get("kv_transfer_params") or {}
    if params.get("do_remote_decode"):
        return "prefill"
    if params.get("do_remote_prefill") and params.get("remote_block_ids") == BLOCKS:
        return "decode"
    return "plain"


def completion(kv_transfer_params: dict[str, Any] | None, tokens: int) -> bytes:
    """A completion as vLLM 0.32 shapes it, as a whole HTTP response."""
    choice = {"index": 0, "text": TEXT, "logprobs": None, "finish_reason": "length", "stop_reason": None}
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "total_tokens": PROMPT_TOKENS + tokens,
        "completion_tokens": tokens,
    }
    head = {"id": "cmpl-mock", "object": "text_completion", "created": 1766014426, "model": MODEL}
    return response({**head, "choices": [choice], "usage": usage, "kv_transfer_params": kv_transfer_params})


def response(body: object, status: str = "200 OK") -> bytes:
    """An HTTP response with a JSON body."""
    payload = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    return head.encode() + payload
