"""A prefill, a decode or a router in a few lines: answers follow from the prompt, KV is handed over.

Files in ``--faults`` plant faults: ``wrong`` (answers as if the KV were another prompt's), ``hang``,
``clean-cut`` (a broken stream ends as if it were whole). Run with `python -S -E`.
"""

import json
import os
import sys
import time

import tiny_http

args = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
ROLE, PREFILL, DECODE = args["--role"], int(args["--prefill"]), int(args["--decode"])
PAUSE_S, PROMPT_S = 0.003, 0.0001  # for each token that is generated, or computed of a prompt
CACHE = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="32"} 1\n'
busy = []

if ROLE == "router":
    import http.client


def planted(name):
    return os.access(f"{args['--faults']}/{name}", os.F_OK)


def post(port, body):
    """Send a completion; the open answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    return connection.getresponse()


def choice(token, finish):
    top = {token: -0.1, "token_id:0": -4.0}
    return {"logprobs": {"tokens": [token], "top_logprobs": [top]}, "finish_reason": finish}


def handle(exchange):
    if exchange.method == "GET":
        if exchange.path == "/metrics":
            page = f'vllm:num_requests_running{{engine="0"}} {len(busy)}\n{CACHE}'
            return exchange.send(200, page.encode())
        if ROLE == "router" and not (tiny_http.healthy(PREFILL) and tiny_http.healthy(DECODE)):
            return exchange.send(503, b"Unhealthy servers")
        return exchange.send(200, b"{}")
    body = json.loads(exchange.body)
    if exchange.path == "/tokenize":
        return exchange.send(200, json.dumps({"tokens": list(range(100, 400))}).encode())
    if planted("hang"):
        time.sleep(30)
    try:
        return route(exchange, body) if ROLE == "router" else engine(exchange, body)
    except OSError as problem:
        return exchange.send(503, f"No available workers: {problem}".encode())


def route(exchange, body):
    json.loads(post(PREFILL, {**body, "max_tokens": 1, "stream": False}).read())
    answer = post(DECODE, {**body, "kv_transfer_params": {"do_remote_prefill": True}})
    if not body.get("stream"):
        return exchange.send(answer.status, answer.read())
    exchange.begin()
    last = b""
    try:
        while line := answer.readline():
            exchange.chunk(line)
            last = line if line.strip() else last
    except (OSError, http.client.HTTPException):
        pass
    if b"[DONE]" in last or planted("clean-cut"):
        exchange.chunk(b"")
    return None


def engine(exchange, body):
    params = body.get("kv_transfer_params") or {}
    remote = bool(params.get("do_remote_prefill"))
    if remote and ROLE == "decode" and not tiny_http.healthy(PREFILL):
        return exchange.send(500, b"KV cannot be fetched")
    prompt = body["prompt"] if isinstance(body["prompt"], list) else list(body["prompt"].encode())
    seed = sum(prompt) + (planted("wrong") and remote)
    tokens = [f"token_id:{(seed * 31 + index * 7) % 997 + 1}" for index in range(body["max_tokens"])]
    busy.append(1)
    try:
        if body.get("stream"):
            return stream(exchange, tokens)
        time.sleep(PAUSE_S * len(tokens) + (0 if remote else PROMPT_S * len(prompt)))
    finally:
        busy.pop()
    whole = choice(tokens[0], "length")
    whole["logprobs"] = {
        "tokens": tokens,
        "top_logprobs": [choice(token, None)["logprobs"]["top_logprobs"][0] for token in tokens],
    }
    handed = {"kv_transfer_params": {"do_remote_prefill": True}} if params.get("do_remote_decode") else {}
    return exchange.send(200, json.dumps({"choices": [whole], **handed}).encode())


def stream(exchange, tokens):
    exchange.begin()
    for index, token in enumerate(tokens):
        finish = "length" if index == len(tokens) - 1 else None
        exchange.chunk(b"data: " + json.dumps({"choices": [choice(token, finish)]}).encode() + b"\n\n")
        time.sleep(PAUSE_S)
    exchange.chunk(b"data: [DONE]\n\n")
    exchange.chunk(b"")


print("stub started", file=sys.stderr, flush=True)
tiny_http.serve(int(args["--port"]), handle)
