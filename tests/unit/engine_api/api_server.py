"""A server whose answers a test dictates, byte for byte."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def step(token, top=None):
    """One generated token in an answer's log-probabilities."""
    return token, top or {token: -0.1, "token_id:0": -3.0}


def choice(steps, finish="length"):
    tokens, tops = zip(*steps, strict=True) if steps else ((), ())
    return {"logprobs": {"tokens": list(tokens), "top_logprobs": list(tops)}, "finish_reason": finish}


def completion(steps, **extra):
    return json.dumps({"choices": [choice(steps)], **extra}).encode()


def event(steps, finish=None):
    return b"data: " + json.dumps({"choices": [choice(steps, finish)]}).encode() + b"\n\n"


END = b"data: [DONE]\n\n"


class Server:
    """Answers each POST with ``code`` and ``chunks``, as a stream to who asks for one;
    ``breaks``: without a last chunk."""

    def __init__(self):
        self.code, self.chunks, self.breaks, self.wait = 200, [], False, threading.Event()
        self.silent = False
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if outer.silent:
                    outer.wait.wait(10)
                self.send_response(outer.code)
                self.send_header(
                    "Content-Type", "text/event-stream" if outer.asked[-1].get("stream") else "text/plain"
                )
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for chunk in outer.chunks:
                    self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                    self.wfile.flush()
                if outer.breaks:
                    self.close_connection = True
                    return
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.wait.set()
        self._http.shutdown()
        self._http.server_close()
