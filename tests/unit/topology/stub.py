"""A role played by a few lines: serves what a test asks for, misbehaves as told. Run with `python -S -E`.

Three of these are started in nearly every test of the topology, so it imports builtin modules only: 10 ms of
CPU instead of the 40 that argparse and http.server take.
"""

import _signal
import _socket
import _thread
import os
import sys
import time

FLAGS = {"--stubborn", "--child"}
words = iter(sys.argv[1:])
args = {word: True if word in FLAGS else next(words) for word in words}
began, questions = time.monotonic(), []


def exists(name):
    return name in args and os.access(args[name], os.F_OK)


def answer(method):
    if method == b"GET":
        ill = time.monotonic() - began < float(args.get("--healthy-after", 0)) or exists("--ill-where")
        return (503 if ill else 200), b"{}"
    questions.append(method)
    if len(questions) <= int(args.get("--refuse", 0)):
        return int(args.get("--refuse-code", 503)), b'{"error": "No available workers"}'
    if exists("--hang-where"):
        time.sleep(3600)
    return 200, b'{"choices": [{"text": " go"}]}'


def length(head):
    lines = [line.split(b":") for line in head.lower().split(b"\r\n")]
    return next((int(line[1]) for line in lines if line[0] == b"content-length"), 0)


def serve(handle):
    connection = _socket.socket(fileno=handle)
    try:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536) or b"\r\n\r\n"
        head, _, body = data.partition(b"\r\n\r\n")
        while len(body) < length(head):
            body += connection.recv(65536)
        code, block = answer(head.partition(b" ")[0])
        text = f"HTTP/1.1 {code} .\r\nContent-Length: {len(block)}\r\nConnection: close\r\n\r\n"
        connection.sendall(text.encode() + block)
    except OSError:
        pass
    finally:
        connection.close()


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
listening = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
listening.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
listening.bind(("127.0.0.1", int(args["--port"])))
listening.listen(64)
while True:
    _thread.start_new_thread(serve, (listening._accept()[0],))
