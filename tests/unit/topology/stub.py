"""A role played by a few lines: serves what a test asks for, misbehaves as told. Run with `python -S`."""

import argparse
import itertools
import json
import mmap
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--healthy-after", type=float, default=0.0)
parser.add_argument("--die-after", type=float)
parser.add_argument("--die-where")
parser.add_argument("--ill-where")
parser.add_argument("--exit-code", type=int, default=1)
parser.add_argument("--say", default="")
parser.add_argument("--stubborn", action="store_true")
parser.add_argument("--child", action="store_true")
parser.add_argument("--refuse", type=int, default=0)
parser.add_argument("--refuse-code", type=int, default=503)
parser.add_argument("--segment")
parser.add_argument("--record")
args = parser.parse_args()
began, questions = time.monotonic(), itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        ill = time.monotonic() - began < args.healthy_after or (
            args.ill_where and Path(args.ill_where).exists()
        )
        self.answer(503 if ill else 200, {})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if next(questions) <= args.refuse:
            self.answer(args.refuse_code, {"error": "No available workers"})
        else:
            self.answer(200, {"choices": [{"text": " go"}]})

    def answer(self, code, body):
        block = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(block)))
        self.end_headers()
        self.wfile.write(block)

    def log_message(self, *_):
        pass


def die():
    time.sleep(args.die_after)
    print(args.say, file=sys.stderr, flush=True)
    os._exit(args.exit_code)


if args.stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if args.child and os.fork() == 0:
    os.setsid()  # out of the role's session, process group and, soon, family
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    os._exit(0)
if args.segment:
    descriptor = os.open(args.segment, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(descriptor, 4096)
    segment = mmap.mmap(descriptor, 4096)
if args.record:
    Path(args.record).write_text(json.dumps(dict(os.environ)))
print("stub started", flush=True)
if args.die_where and Path(args.die_where).exists():
    args.die_after = 0.0
if args.die_after is not None:
    threading.Thread(target=die, daemon=True).start()
ThreadingHTTPServer.allow_reuse_address = True
ThreadingHTTPServer(("127.0.0.1", args.port), Handler).serve_forever()
