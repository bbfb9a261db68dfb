"""A topology of the imagination: three HTTP services in this process that behave as vLLM and its router do.

The "model" draws log-probabilities from a hash of the context, so a wrong KV cache is a wrong context.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import threading
from functools import lru_cache

import httpx

BASES = {18100: "prefill", 18200: "decode", 18000: "router"}
TOKEN_VALUES = 2 * 2 * 2 * 8  # K and V, 2 layers, 2 KV heads, head size 8
WIRE = 16


@lru_cache(maxsize=100_000)
def _logits(context):
    rng = random.Random(hashlib.sha256(repr(context).encode()).digest())
    return [rng.gauss(0, 3) for _ in range(40)]


class Topology:
    """``fault`` names what is wrong with it; ``noise`` is the rounding of each engine, in logits. Engines
    are told apart by their ports; the router takes them in turn."""

    def __init__(self, fault=None, noise=0.0, counters=True, item_bytes=4, *, prefills=1, decodes=1):
        self.fault, self.noise, self.counters = fault, noise, counters
        self.slot_bytes = WIRE * TOKEN_VALUES * item_bytes
        self.rng = random.Random(7)
        self.lock = threading.Lock()
        self.engines = {"prefill": prefills, "decode": decodes}
        self.counts = {name: {} for side, many in self.engines.items() for name in _names(side, many)}
        self.routed, self.known = 0, set()
        self.spared = 5  # requests before a pair of engines goes wrong: the connectivity requests

    @property
    def transport(self):
        return httpx.MockTransport(self.handle)

    def handle(self, request):
        side = BASES[request.url.port - request.url.port % 100]
        name = f"{side}-{request.url.port % 100}"
        if self.fault == f"{side} down":
            raise httpx.ConnectError("refused", request=request)
        body = json.loads(request.content) if request.content else {}
        if request.method == "GET":
            return self.page(side, name, request.url.path)
        if request.url.path == "/tokenize":
            extra = self.fault == "tokenizer" and side == "decode" and "café" in body["prompt"]
            tokens = tokenize(body["prompt"]) + [1] * extra
            return httpx.Response(200, json={"tokens": tokens, "count": len(tokens), "max_model_len": 2048})
        if self.fault == f"{side} refuses":
            return httpx.Response(503, text="No available workers: 0 prefill, 0 decode")
        chat = "chat" in request.url.path
        tokens = tokenize(body["messages"][0]["content"]) if chat else body["prompt"]
        tokens = tuple(tokens if isinstance(tokens, list) else tokenize(tokens))
        given = body.get("kv_transfer_params")
        if given and given.get("do_remote_decode"):
            self.prefilled(name, tokens)
            kept = None if self.fault == "keeps nothing" and name != "prefill-0" else {"from": name}
            return answer(body, len(tokens), self.generate(("", tokens), body), chat, None, kept=kept)
        if given:
            steps = self.receive(given["from"], name, tokens, body)
        else:
            steps = self.route(tokens, body) if side == "router" else self.alone(name, tokens, body)
        return answer(body, len(tokens), steps, chat, self.fault)

    def page(self, side, name, path):
        if path == "/metrics":
            lines = [f"vllm:{metric} {value}" for metric, value in sorted(self.counts[name].items())]
            zero = ["vllm:nixl_num_failed_transfers_total 0.0", "vllm:prefix_cache_hits_total 0.0"]
            known = (
                "nixl_xfer_time_seconds_count",
                "nixl_bytes_transferred_sum",
                "nixl_num_descriptors_sum",
                "external_prefix_cache_hits_total",
                "request_success_total",
                "prompt_tokens_total",
            )
            zero += [f"vllm:{one} 0.0" for one in known if one not in self.counts[name]]
            return httpx.Response(200, text="\n".join(zero + lines) if self.counters else "# nothing\n")
        if path == "/v1/models":
            model = "other" if self.fault == "model" and side == "decode" else "m"
            limit = 1024 if self.fault == "length" and side == "decode" else 2048
            return httpx.Response(
                200, json={"data": [{"id": model, "root": "/models/m", "max_model_len": limit}]}
            )
        if path == "/version":
            other = self.fault == "version" and side == "decode"
            return httpx.Response(200, json={"version": "0.31.0" if other else "0.32.0"})
        return httpx.Response(200)

    def count(self, name, **moved):
        with self.lock:
            for metric, value in moved.items():
                self.counts[name][metric] = self.counts[name].get(metric, 0) + value

    def alone(self, name, tokens, body):
        self.count(name, request_success_total=1, prompt_tokens_total=len(tokens))
        self.computed(name, len(tokens))
        weights = "other" if self.fault == "weights" and name.startswith("decode") else ""
        return self.generate((weights, tokens), body)

    def computed(self, name, tokens):
        with self.lock:
            metric = 'prompt_tokens_by_source_total{engine="0",source="local_compute"}'
            self.counts[name].setdefault(metric, 0)
            self.counts[name][metric] += tokens

    def route(self, tokens, body):
        if self.fault in ("whole to decode", "whole to prefill"):
            return self.alone(f"{self.fault.split()[-1]}-0", tokens, body)
        with self.lock:
            turn = self.routed
        prefill, decode = (f"{side}-{turn % many}" for side, many in self.engines.items())
        self.prefilled(prefill, tokens)
        return self.receive(prefill, decode, tokens, body)

    def prefilled(self, name, tokens):
        self.count(name, request_success_total=1, prompt_tokens_total=len(tokens))
        self.computed(name, len(tokens))

    def receive(self, prefill, decode, tokens, body):
        """The decode's part of a request whose prompt the prefill has computed."""
        with self.lock:
            self.routed += 1
            number = self.routed
        self.count(decode, request_success_total=1, prompt_tokens_total=len(tokens))
        apart = (prefill, decode) == ("prefill-0", "decode-1") and number > self.spared
        if self.fault == "recomputed" or (self.fault == "one pair recomputes" and apart):
            self.computed(decode, len(tokens))
            return self.generate(("", tokens), body)
        blocks = -(-len(tokens) // WIRE) - (self.fault == "block not sent" and number > 5)
        failed = (
            {"nixl_num_failed_transfers_total": 1} if self.fault == "failed transfer" and number == 9 else {}
        )
        self.count(
            decode,
            nixl_xfer_time_seconds_count=1,
            nixl_bytes_transferred_sum=blocks * self.slot_bytes,
            nixl_num_descriptors_sum=2 * max(blocks, 1),
            external_prefix_cache_hits_total=len(tokens),
            **failed,
        )
        if self.fault == "one pair garbles" and apart:
            return self.generate(("", tokens[WIRE:]), body)
        return self.generate(self.received(tokens, number), body, self.shift(number))

    def shift(self, number):
        if number <= 5:
            return 0.0
        return {"small": 0.01, "one small": 0.01 * (number == 11)}.get(self.fault, 0.0)

    def received(self, tokens, number):
        """What the decode's KV says the prompt was; the connectivity requests are spared."""
        whole = len(tokens) // WIRE * WIRE
        seen = {
            "last block": tokens[:-1][:whole] + tokens[-1:],
            "swapped": tokens[WIRE : 2 * WIRE] + tokens[:WIRE] + tokens[2 * WIRE :]
            if whole >= 2 * WIRE
            else tokens,
            "stale": (0,) * len(tokens) if number == 20 else tokens,
            "reuse": tokens[:WIRE] * 2 + tokens[2 * WIRE :] if tokens in self.known else tokens,
        }.get(self.fault, tokens)
        self.known.add(tokens)
        return ("", seen if number > 5 else tokens)

    def generate(self, context, body, shift=0.0):
        steps, (weights, tokens) = [], context
        for _ in range(body["max_tokens"]):
            raw = _logits((weights, tokens))
            with self.lock:
                logits = [one + self.rng.gauss(0, self.noise) for one in raw]
            logits[raw.index(max(raw))] += shift * 10  # of the likeliest: what is never chosen may not show
            total = math.log(sum(map(math.exp, logits)))
            ranked = sorted(range(len(logits)), key=lambda token: -logits[token])
            steps.append([(token, logits[token] - total) for token in ranked[:20]])
            tokens = (*tokens, ranked[0])
        return steps


def _names(side, many):
    return [f"{side}-{at}" for at in range(many)]


def tokenize(text):
    return [int(hashlib.sha256(word.encode()).hexdigest()[:4], 16) for word in text.split()]


def answer(body, prompt, steps, chat, fault, *, kept=None):
    name = (
        (lambda token: f"token_id:{token}")
        if body.get("return_tokens_as_token_ids")
        else (lambda token: f" w{token}")
    )
    pieces = [f" w{step[0][0]}" for step in steps]
    usage = {"prompt_tokens": prompt, "completion_tokens": len(steps), "total_tokens": prompt + len(steps)}
    head = {
        "id": "cmpl-1",
        "created": 1,
        "model": "m",
        "kv_transfer_params": {"x": 1} if fault == "leak" else kept,
    }
    bare = fault == "no logprobs" and "prompt" in body and isinstance(body["prompt"], list)

    def logprobs(part):
        if chat:
            return {
                "content": [
                    {
                        "token": name(step[0][0]),
                        "top_logprobs": [{"token": name(token), "logprob": value} for token, value in step],
                    }
                    for step in part
                ]
            }
        return {
            "tokens": [name(step[0][0]) for step in part],
            "top_logprobs": None
            if bare
            else [{name(token): value for token, value in step} for step in part],
        }

    if not body.get("stream"):
        said = {"message": {"content": "".join(pieces)}} if chat else {"text": "".join(pieces)}
        choice = {"index": 0, **said, "logprobs": logprobs(steps), "finish_reason": "length"}
        kind = "chat.completion" if chat else "text_completion"
        return httpx.Response(200, json={**head, "object": kind, "choices": [choice], "usage": usage})
    kind, events = "chat.completion.chunk" if chat else "text_completion", []
    for position, piece in enumerate(pieces[1:] if fault == "lost event" else pieces):
        said = {"delta": {"content": piece}} if chat else {"text": piece}
        last = position == len(pieces) - 1 - (fault == "lost event")
        choice = {
            "index": 0,
            **said,
            "logprobs": logprobs([steps[position]]),
            "finish_reason": "length" if last else None,
        }
        events.append(json.dumps({**head, "object": kind, "choices": [choice]}))
    text = "".join(f"data: {event}\n\n" for event in [*events, *(["[DONE]"] if fault != "no done" else [])])
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream; charset=utf-8"})
