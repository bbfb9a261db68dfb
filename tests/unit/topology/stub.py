"""A role played by a few lines: serves what a test asks for, misbehaves as told. Run with `python -S -E`."""

import _signal
import _thread
import os
import sys
import time

import tiny_http

FLAGS = {"--stubborn", "--child"}
words = iter(sys.argv[1:])
args = {word: True if word in FLAGS else next(words) for word in words}
began, questions = time.monotonic(), []


def exists(name):
    return name in args and os.access(args[name], os.F_OK)


def handle(exchange):
    if exchange.method == "GET":
        ill = time.monotonic() - began < float(args.get("--healthy-after", 0)) or exists("--ill-where")
        return exchange.send(503 if ill else 200, b"{}")
    questions.append(exchange.path)
    if len(questions) <= int(args.get("--refuse", 0)):
        return exchange.send(int(args.get("--refuse-code", 503)), b'{"error": "No available workers"}')
    if exists("--hang-where"):
        time.sleep(3600)
    return exchange.send(200, b'{"choices": [{"text": " go"}]}')


def die(seconds):
    time.sleep(seconds)
    print(args.get("--say", ""), file=sys.stderr, flush=True)
    os._exit(int(args.get("--exit-code", 1)))


if "--stubborn" in args:
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
if "--child" in args and os.fork() == 0:
    os.setsid()  # out of the role's session, process group and, soon, its descendants
    if os.fork() == 0:
        _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
        time.sleep(3600)
    os._exit(0)
if "--segment" in args:
    import mmap

    descriptor = os.open(args["--segment"], os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(descriptor, 4096)
    segment = mmap.mmap(descriptor, 4096)
if "--record" in args:
    import json

    with open(args["--record"], "w") as stream:  # noqa: PTH123 - pathlib is as slow
        json.dump(dict(os.environ), stream)
print("stub started", flush=True)
if "--complain" in args:
    print(args["--complain"], flush=True)
if exists("--die-where"):
    args["--die-after"] = "0"
if "--die-after" in args:
    _thread.start_new_thread(die, (float(args["--die-after"]),))
tiny_http.serve(int(args["--port"]), handle)
