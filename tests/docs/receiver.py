"""A consumer on loopback that keeps what came."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple


class Received(NamedTuple):
    """One request."""

    headers: dict[str, str]
    body: bytes


@contextmanager
def receiver() -> Iterator[tuple[int, SimpleQueue[Received]]]:
    """Listen on a free port; gives the port and what comes."""
    requests: SimpleQueue[Received] = SimpleQueue()

    class Consumer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            requests.put(Received({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Consumer)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
