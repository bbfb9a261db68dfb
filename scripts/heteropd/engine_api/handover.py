"""The hand-over from prefill to decode: what a PD router asks each of them over HTTP. Pure."""

from __future__ import annotations

from typing import Any

_NOT_KNOWN_YET = dict.fromkeys(("remote_engine_id", "remote_block_ids", "remote_host", "remote_port"))


def prefill_request(request: dict[str, Any]) -> dict[str, Any]:
    """What the prefill engine is asked: one token, no stream, and to keep its KV for a remote decode."""
    asked = {name: value for name, value in request.items() if name != "stream_options"}
    asked |= {"stream": False, "max_tokens": 1}
    if "max_completion_tokens" in asked:
        asked["max_completion_tokens"] = 1
    keep = {"do_remote_decode": True, "do_remote_prefill": False}
    return {**asked, "kv_transfer_params": {**keep, **_NOT_KNOWN_YET}}
