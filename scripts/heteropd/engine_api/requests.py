"""Bodies of requests: what can be compared token by token, and the hand-over of a PD router. Pure."""

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
HANDOVER = "kv_transfer_params"
KEEP_FOR_DECODE = {"do_remote_decode": True, "do_remote_prefill": False}
_NOT_KNOWN_YET = dict.fromkeys(("remote_engine_id", "remote_block_ids", "remote_host", "remote_port"))


def greedy(model: str, tokens: Sequence[int], max_tokens: int, top: int, salt: str) -> Json:
    """A completion request whose answer can be compared token by token."""
    return {
        "model": model,
        "prompt": list(tokens),
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "logprobs": top,
        # Different ids may print alike (bytes of a character); ids do not.
        "return_tokens_as_token_ids": True,
        "cache_salt": salt,
    }


def prefill_request(request: Json) -> Json:
    """What a PD router asks the prefill engine: one token, no stream, and to keep its KV for a decode."""
    body = {name: value for name, value in request.items() if name != "stream_options"}
    body |= {"stream": False, "max_tokens": 1}
    if "max_completion_tokens" in body:
        body["max_completion_tokens"] = 1
    return {**body, HANDOVER: {**KEEP_FOR_DECODE, **_NOT_KNOWN_YET}}
