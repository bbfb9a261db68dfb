"""A prefill, a decode or a router in a few lines: answers follow from the prompt, KV is handed over.

Files in ``--faults`` plant faults: ``wrong`` (answers as if the KV were another prompt's), ``hang``,
``clean-cut`` (a broken stream ends as if it were whole). Run with `python -S`.
"""

import argparse
import contextlib
import http.client
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--role")
parser.add_argument("--prefill", type=int)
parser.add_argument("--decode", type=int)
parser.add_argument("--pause", type=float, default=0.003)
parser.add_argument("--faults", type=Path)
args = parser.parse_args()
busy = []


def planted(name):
    return (args.faults / name).exists()


def post(port, body):
    """Send a completion; the open answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    return connection.getresponse()


def choice(token, finish):
    top = {token: -0.1, "token_id:0": -4.0}
    return {"logprobs": {"tokens": [token], "top_logprobs": [top]}, "finish_reason": finish}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/metrics":
            text = f'vllm:num_requests_running{{engine="0"}} {len(busy)}\n'
            text += 'vllm:cache_config_info{block_size="16",num_gpu_blocks="32"} 1\n'
            return self.send(200, text.encode())
        if args.role == "router" and not all(self.healthy(port) for port in (args.prefill, args.decode)):
            return self.send(503, b"Unhealthy servers")
        return self.send(200, b"{}")

    def healthy(self, port):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            return self.send(200, json.dumps({"tokens": list(range(100, 400))}).encode())
        if planted("hang"):
            time.sleep(30)
        try:
            return self.route(body) if args.role == "router" else self.engine(body)
        except OSError as problem:
            return self.send(503, f"No available workers: {problem}".encode())

    def route(self, body):
        first = json.loads(post(args.prefill, {**body, "max_tokens": 1, "stream": False}).read())
        del first
        answer = post(args.decode, {**body, "kv_transfer_params": {"do_remote_prefill": True}})
        if not body.get("stream"):
            return self.send(answer.status, answer.read())
        self.begin()
        last = b""
        with contextlib.suppress(OSError, http.client.HTTPException):
            while line := answer.readline():
                self.chunk(line)
                last = line if line.strip() else last
        if b"[DONE]" in last or planted("clean-cut"):
            self.chunk(b"")
        self.close_connection = True
        return None

    def engine(self, body):
        params = body.get("kv_transfer_params") or {}
        if params.get("do_remote_prefill") and args.role == "decode" and not self.healthy(args.prefill):
            return self.send(500, b"KV cannot be fetched")
        prompt = body["prompt"] if isinstance(body["prompt"], list) else list(body["prompt"].encode())
        seed = sum(prompt) + (planted("wrong") and bool(params.get("do_remote_prefill")))
        tokens = [f"token_id:{(seed * 31 + index * 7) % 997 + 1}" for index in range(body["max_tokens"])]
        busy.append(1)
        try:
            if body.get("stream"):
                return self.stream(tokens)
            computed = 0 if params.get("do_remote_prefill") else len(prompt)
            time.sleep(args.pause * len(tokens) + 0.0001 * computed)
        finally:
            busy.pop()
        whole = choice(tokens[0], "length")
        whole["logprobs"] = {
            "tokens": tokens,
            "top_logprobs": [choice(one, None)["logprobs"]["top_logprobs"][0] for one in tokens],
        }
        handed = {"kv_transfer_params": {"do_remote_prefill": True}} if params.get("do_remote_decode") else {}
        return self.send(200, json.dumps({"choices": [whole], **handed}).encode())

    def stream(self, tokens):
        self.begin()
        for index, token in enumerate(tokens):
            finish = "length" if index == len(tokens) - 1 else None
            self.chunk(b"data: " + json.dumps({"choices": [choice(token, finish)]}).encode() + b"\n\n")
            time.sleep(args.pause)
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def begin(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def send(self, code, block):
        self.send_response(code)
        self.send_header("Content-Length", str(len(block)))
        self.end_headers()
        self.wfile.write(block)

    def log_message(self, *_):
        pass


print("stub started", file=sys.stderr, flush=True)
ThreadingHTTPServer.allow_reuse_address = True
ThreadingHTTPServer.daemon_threads = True
server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
threading.Thread(target=server.serve_forever, daemon=False).start()
