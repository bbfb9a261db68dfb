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
STEP_COUNTS = {"step counts": 607, "step counts, no opinion": 607, "step counts later": 609}  # tokens
SPARED = 6  # what users send: most faults strike only later


@lru_cache(maxsize=100_000)
def _logits(context):
    rng = random.Random(hashlib.sha256(repr(context).encode()).digest())
    return [rng.gauss(0, 3) for _ in range(40)]


class Topology:
    """``fault`` names what is wrong with it; ``noise`` is the rounding of each engine, in logits, and
    ``steps`` that of a prompt which is not computed in one step: routed, or from a prefix cache. Engines are
    told apart by their ports; the router takes them in turn."""

    def __init__(
        self, fault=None, noise=0.0, counters=True, item_bytes=4, *, prefills=1, decodes=1, steps=0.0
    ):
        self.fault, self.noise, self.counters, self.steps = fault, noise, counters, steps
        self.item, self.slot_bytes = item_bytes, WIRE * TOKEN_VALUES * item_bytes
        self.rng = random.Random(7)
        self.lock = threading.Lock()
        self.engines = {"prefill": prefills, "decode": decodes}
        self.counts = {name: {} for side, many in self.engines.items() for name in _names(side, many)}
        self.routed, self.known, self.cached = 0, set(), set()
        self.thawed = threading.Event()  # for what hangs

    @property
    def transport(self):
        return httpx.MockTransport(self.handle)

    def handle(self, request):
        side = BASES[request.url.port - request.url.port % 100]
        name = f"{side}-{request.url.port % 100}"
        if self.fault == f"{side} down":
            raise httpx.ConnectError("refused", request=request)
        body = json.loads(request.content) if request.content else {}
        if self.fault == f"{side} stopped":
            raise httpx.ReadTimeout("", request=request)
        if request.method == "GET":
            return self.page(side, name, request.url.path)
        if request.url.path == "/tokenize":
            return self.tokenized(side, body)
        if self.fault == f"{side} frozen":
            raise httpx.ReadTimeout("", request=request)
        anybody = (
            body.get("prompt") == [1] and body["max_tokens"] == 1
        )  # the question whether it computes at all
        if self.fault == f"{side} refuses" and not anybody:
            return httpx.Response(503, text="No available workers: 0 prefill, 0 decode")
        chat = "chat" in request.url.path
        tokens = tokenize(body["messages"][0]["content"]) if chat else body["prompt"]
        tokens = tuple(tokens if isinstance(tokens, list) else tokenize(tokens))
        if anybody:
            return answer(body, 1, self.generate(("", tokens), body), chat, None)
        given = body.get("kv_transfer_params")
        if given and given.get("do_remote_decode"):
            self.prefilled(name, tokens, body)
            kept = None if self.fault == "keeps nothing" and name != "prefill-0" else {"from": name}
            return answer(body, len(tokens), self.generate(("", tokens), body), chat, None, kept=kept)
        if given:
            steps = self.receive(given["from"], name, tokens, body)
        else:
            steps = self.route(tokens, body) if side == "router" else self.alone(name, tokens, body)
        return answer(body, len(tokens), steps, chat, self.fault)

    def tokenized(self, side, body):
        if "messages" in body:
            if self.fault == "no template":
                return httpx.Response(400, text="you must provide a chat template")
            other = self.fault == "template" and side == "decode"
            tokens = [2, *tokenize(body["messages"][0]["content"]), 4 if other else 3]
        else:
            tokens = tokenize(body["prompt"])
            if self.fault == "tokenizer" and side == "decode" and "café" in body["prompt"]:
                tokens = [*tokens, 1]
            if self.fault == "merge" and side == "decode":  # a word of the probes, and of nothing else
                tokens = [part for token in tokens for part in ([1, 2] if token == ZEBRA else [token])]
        return httpx.Response(200, json={"tokens": tokens, "count": len(tokens), "max_model_len": 2048})

    def log(self, name):
        """What the engine logged when it started."""
        decode = name.startswith("decode") and self.fault != "layout"
        layout = "LBNHC" if decode else "LBHNC"
        dtype = "float16" if self.fault == "dtype" and decode else {4: "float32", 2: "bfloat16"}[self.item]
        return (
            f"non-default args: {{'dtype': '{dtype}'}}\nwith config: dtype=torch.{dtype}, max_seq_len=2048\n"
            f"Chunked prefill: max_num_batched_tokens=2048.\nDetected kv cache layout {layout}\n"
        )

    def files(self, name, root):
        """Hashes of what an engine loads."""
        if self.fault == "no folder" or root != "/models/m":
            return None
        other = self.fault == "weights file" and name.startswith("decode")
        return {"config.json": "a", "tokenizer.json": "b", "model.safetensors": "other" if other else "c"}

    def page(self, side, name, path):
        if path == "/metrics":
            lines = [f"vllm:{metric} {value}" for metric, value in sorted(self.counts[name].items())]
            zero = ["vllm:nixl_num_failed_transfers_total 0.0"]
            known = (
                "nixl_xfer_time_seconds_count",
                "nixl_bytes_transferred_sum",
                "nixl_num_descriptors_sum",
                "external_prefix_cache_hits_total",
                "request_success_total",
                "prompt_tokens_total",
                "nixl_num_kv_expired_reqs_total",
                "nixl_num_notifications_after_expiry_total",
                "prefix_cache_hits_total",
            )
            zero += [f"vllm:{metric} 0.0" for metric in known if metric not in self.counts[name]]
            if self.fault != "no cache info":
                size = 128 if side == "decode" and self.fault != "block size" else 16
                caching = side == "prefill"
                zero.append(
                    f'vllm:cache_config_info{{block_size="{size}",enable_prefix_caching="{caching}"}} 1.0'
                )
            busy = 1 if self.fault == "others" and side == "prefill" else 0
            zero.append(f"vllm:num_requests_running {busy}.0")
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
        if "allowed_token_ids" in body:  # the last token of a context, in a step of its own
            if self.fault == "step counts, no opinion":
                return self.generate(("", (0,)), {**body, "max_tokens": 1})
            forced = (*tokens, *body["allowed_token_ids"])
            step = self.generate(("", forced), {**body, "max_tokens": 1}, self.apart(forced), stepwise=True)
            return [*self.generate(("", tokens), {**body, "max_tokens": 1}), *step]
        self.count(name, request_success_total=1, prompt_tokens_total=len(tokens))
        self.count(name, generation_tokens_total=body["max_tokens"])
        key = (name, body.get("cache_salt"), tokens)
        cached = len(tokens) // WIRE * WIRE if name.startswith("prefill") and key in self.cached else 0
        self.cached.add(key)
        self.count(name, prefix_cache_hits_total=cached)
        self.computed(name, len(tokens) - cached)
        on_decode = name.startswith("decode")
        weights = "other" if self.fault == "weights" and on_decode else ""
        shift = 2e-4 if self.fault == "layer off" and on_decode else self.apart(tokens) * on_decode
        return self.generate((weights, tokens), body, shift, stepwise=bool(cached))

    def apart(self, tokens):
        """A prompt on which the engines alone differ by a nat and more."""
        return 0.2 if self.fault == "engines apart" and len(tokens) == 607 else 0.0

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
        if self.fault == "decode freezes" and turn > 9:
            self.thawed.wait(10)
        prefill, decode = (f"{side}-{turn % many}" for side, many in self.engines.items())
        writes = self.fault == "prefill writes"
        self.prefilled(prefill, tokens, body, generated=body["max_tokens"] if writes else 1)
        steps = self.receive(prefill, decode, tokens, body)
        return self.generate(("", tokens), body) if writes else steps

    def prefilled(self, name, tokens, body, generated=1):
        expired = self.fault == "abandoned" and self.routed == 9
        self.count(name, request_success_total=1, prompt_tokens_total=len(tokens))
        self.count(name, generation_tokens_total=generated, nixl_num_kv_expired_reqs_total=int(expired))
        if self.fault == "fetched late" and self.routed == 9:
            self.count(name, nixl_num_kv_expired_reqs_total=1, nixl_num_notifications_after_expiry_total=1)
        key = (name, body.get("cache_salt"), tokens)
        hits = len(tokens) // WIRE * WIRE if key in self.cached else 0
        self.cached.add(key)
        self.count(name, prefix_cache_hits_total=hits)
        self.computed(name, len(tokens) - hits)

    def receive(self, prefill, decode, tokens, body):
        """The decode's part of a request whose prompt the prefill has computed."""
        with self.lock:
            self.routed += 1
            number = self.routed
        self.count(decode, request_success_total=1, prompt_tokens_total=len(tokens))
        self.count(decode, generation_tokens_total=body["max_tokens"])
        apart = (prefill, decode) == ("prefill-0", "decode-1") and number > SPARED
        if self.fault == "recomputed" or (self.fault == "one pair recomputes" and apart):
            self.computed(decode, len(tokens))
            return self.generate(("", tokens), body)
        blocks = -(-len(tokens) // WIRE) - (self.fault == "block not sent" and number > SPARED)
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
        if struck(self.fault, tokens, body):
            return self.generate(("", (0,) * len(tokens)), body)
        return self.generate(self.received(tokens, number), body, self.shift(number), stepwise=True)

    def shift(self, number):
        if self.fault == "layer off":
            return 2e-4
        if number <= SPARED:
            return 0.0
        return {"small": 0.01, "one small": 0.01 * (number == 12)}.get(self.fault, 0.0)

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
        return ("", seen if number > SPARED else tokens)

    def generate(self, context, body, shift=0.0, *, stepwise=False):
        steps, (weights, tokens) = [], context
        noise = self.noise + self.steps * stepwise
        for _ in range(body["max_tokens"]):
            counts = stepwise and len(tokens) == STEP_COUNTS.get(self.fault)
            raw = _logits(("in a step of its own" if counts else weights, tokens))
            with self.lock:
                logits = [value + self.rng.gauss(0, noise) for value in raw]
            logits[raw.index(max(raw))] += shift * 10  # of the likeliest: what is never chosen may not show
            total = math.log(sum(map(math.exp, logits)))
            ranked = sorted(range(len(logits)), key=lambda token: -logits[token])
            steps.append([(token, logits[token] - total) for token in ranked[:20]])
            tokens = (*tokens, ranked[0])
        return steps


def struck(fault, tokens, body):
    """Whether a fault that zeroes the KV of some requests only meets this one."""
    if not (fault or "").startswith("zeroed: "):
        return False
    return {
        "unsalted": "cache_salt" not in body,
        "streams": bool(body.get("stream")),
        "chats": "messages" in body,
        "text": isinstance(body.get("prompt"), str),
        "may stop": not body.get("ignore_eos"),
        "no logprobs": "logprobs" not in body,
        "long": len(tokens) > 300,
        "longest": len(tokens) > 1500,
    }[fault.removeprefix("zeroed: ")]


def _names(side, many):
    return [f"{side}-{at}" for at in range(many)]


def tokenize(text):
    return [int(hashlib.sha256(word.encode()).hexdigest()[:4], 16) for word in text.split()]


ZEBRA = tokenize("zebra")[0]


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
            "text_offset": [sum(map(len, pieces[:at])) for at in range(len(part))],
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
