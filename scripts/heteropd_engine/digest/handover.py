"""A digest as it travels with the rest of ``kv_transfer_params``: JSON, through any router. Needs torch."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import torch

from heteropd_engine.digest.arithmetic import Digest

FIELD = "heteropd_kv_digest"
"""Of ``kv_transfer_params``. Its value is a digest, or None for what the prefill's sample leaves out."""
MISSING = "missing"
"""In the value's place where there is none, but should be."""
VERSION = 2


class Unreadable(ValueError):
    """The field is not there, or holds something else than a digest."""


@dataclass(frozen=True)
class Shown:
    """What the prefill says of a prompt: its digest, the key that it was made with, the KV's dtype."""

    digest: Digest
    key: int
    dtype: str


def encode(shown: Shown) -> dict[str, Any]:
    """As JSON. The key is text: not every JSON reader keeps 64 bits of a number."""
    layers, heads = shown.digest.heads.shape
    return {
        "version": VERSION,
        "key": f"{shown.key:x}",
        "dtype": shown.dtype,
        "shape": [layers, heads, len(shown.digest.tokens)],
        "heads": _text(shown.digest.heads),
        "tokens": _text(shown.digest.tokens),
    }


def decode(value: Any) -> Shown:
    """Raises Unreadable for anything that `encode` did not make."""
    if not isinstance(value, dict):
        raise Unreadable(f"{FIELD} is missing: the prefill made none, or something on the way drops it")
    if value.get("version") != VERSION:
        raise Unreadable(f"{FIELD} is of version {value.get('version')}, {VERSION} is known here")
    try:
        layers, heads, tokens = value["shape"]
        by_head = _numbers(value["heads"], torch.int64).reshape(layers, heads)
        digest = Digest(by_head, _numbers(value["tokens"], torch.int32).reshape(tokens))
        return Shown(digest, int(value["key"], 16), str(value["dtype"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise Unreadable(f"{FIELD} is damaged ({problem})") from None


def _text(numbers: torch.Tensor) -> str:
    return base64.b64encode(numbers.contiguous().numpy().tobytes()).decode()


def _numbers(text: str, dtype: torch.dtype) -> torch.Tensor:
    raw = bytearray(base64.b64decode(text, validate=True))
    return torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
