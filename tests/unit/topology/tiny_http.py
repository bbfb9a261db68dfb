"""A server of builtin modules only: stubs are started very often, and http.server takes 30 ms of CPU."""

import _socket
import _thread


class Exchange:
    """One request and the connection to answer it on, which is closed then."""

    def __init__(self, connection):
        self._connection = connection
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536) or b"\r\n\r\n"
        head, _, self.body = data.partition(b"\r\n\r\n")
        self.method, self.path, *_ = [*head.decode().partition("\r\n")[0].split(), "", ""]
        while len(self.body) < _length(head):
            self.body += connection.recv(65536)

    def send(self, code, block):
        head = f"HTTP/1.1 {code} .\r\nContent-Length: {len(block)}\r\nConnection: close\r\n\r\n"
        self._connection.sendall(head.encode() + block)

    def begin(self):
        """The head of a stream, whose chunks follow; an empty one ends it."""
        head = b"HTTP/1.1 200 .\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        self._connection.sendall(head + b"Connection: close\r\n\r\n")

    def chunk(self, data):
        self._connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def serve(port, handle):
    """Answer requests on loopback, each in a thread, by ``handle(exchange)``, for ever."""
    listening = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listening.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(64)
    while True:
        _thread.start_new_thread(_answer, (listening._accept()[0], handle))


def healthy(port):
    """Whether a server on loopback answers /health well."""
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    connection.settimeout(2)
    try:
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        return b" 200 " in connection.recv(100)
    except OSError:
        return False
    finally:
        connection.close()


def _answer(descriptor, handle):
    connection = _socket.socket(fileno=descriptor)
    try:
        handle(Exchange(connection))
    except OSError:  # whoever asked has gone
        pass
    finally:
        connection.close()


def _length(head):
    lines = [line.split(b":") for line in head.lower().split(b"\r\n")]
    return next((int(line[1]) for line in lines if line[0] == b"content-length"), 0)
