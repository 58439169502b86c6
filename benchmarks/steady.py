"""``python -m benchmarks.steady``: offers events at a fixed rate, open loop; prints one JSON object.

The schedule is fixed before the first event: when the server stalls, events go on falling due, and each counts from the
instant it was due (not from when it could be sent), so that a stall is seen by all whom it would have hit. Threads, not
an event loop: the timers of event loops are a millisecond coarse.
"""

import argparse
import json
import select
import socket
import threading
import time
from queue import Empty, SimpleQueue

import httptools

from .bodies import LANES, published
from .load import request_bytes
from .numbers import percentile

_CONNECTIONS = 64


class Lines:
    """Keep-alive connections; a thread reads their answers and puts them back in line."""

    def __init__(self, port: int) -> None:
        self.free: SimpleQueue[socket.socket] = SimpleQueue()
        self.acknowledged_ns: list[int] = []
        self.refused = 0
        self._due_ns: dict[int, int] = {}
        self._parsers: dict[int, httptools.HttpResponseParser] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._poll = select.epoll()
        for _ in range(_CONNECTIONS):
            line = socket.create_connection(("127.0.0.1", port), 5)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[line.fileno()] = line
            self._fresh_parser(line)
            self._poll.register(line, select.EPOLLIN)
            self.free.put(line)
        threading.Thread(target=self._read_on, daemon=True).start()

    def send(self, line: socket.socket, request: bytes, due_ns: int) -> None:
        """Send a request that was due at ``due_ns``."""
        self._due_ns[line.fileno()] = due_ns
        line.sendall(request)

    def _fresh_parser(self, line: socket.socket) -> None:
        lines, number = self, line.fileno()

        class Answer:
            def on_message_complete(self) -> None:
                lines.acknowledged_ns.append(time.monotonic_ns() - lines._due_ns[number])
                lines.refused += lines._parsers[number].get_status_code() >= 400
                lines.free.put(line)

        self._parsers[number] = httptools.HttpResponseParser(Answer())

    def _read_on(self) -> None:
        while True:
            for number, _ in self._poll.poll(1):
                data = self._sockets[number].recv(65_536)
                if data:
                    self._parsers[number].feed_data(data)
                else:
                    self._poll.unregister(number)  # closed: one line less


def offer_steadily(lines: Lines, size: int, rate: float, numbers: range) -> list[int]:
    """Send the events ``numbers`` at ``rate`` a second; how late each was sent, in nanoseconds."""
    late: list[int] = []
    start_ns = time.monotonic_ns() + 50_000_000
    for turn, number in enumerate(numbers):
        due_ns = start_ns + int(turn * 1e9 / rate)
        body = published(size, number % LANES, number, due_ns)
        request = request_bytes("/v1/events", body)
        ahead_ns = due_ns - time.monotonic_ns()
        if ahead_ns > 0:
            time.sleep(ahead_ns / 1e9)
        try:
            line = lines.free.get(timeout=10)
        except Empty:
            raise SystemExit("no connection has been answered for 10 s") from None
        late.append(time.monotonic_ns() - due_ns)
        lines.send(line, request, due_ns)
    return late


def main() -> None:
    """Offer events, wait for the answers, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    lines = Lines(asked.port)
    late = offer_steadily(lines, asked.size, asked.rate, range(asked.first, asked.first + asked.count))
    end = time.monotonic() + 10
    while len(lines.acknowledged_ns) < asked.count and time.monotonic() < end:
        time.sleep(0.05)
    acknowledged = list(lines.acknowledged_ns)
    print(
        json.dumps(
            {
                "sent": len(late),
                "acknowledged": len(acknowledged),
                "refused": lines.refused,
                "late_p99_ms": percentile(late, 99) / 1e6,
                "ack_p50_ms": percentile(acknowledged, 50) / 1e6,
                "ack_p99_ms": percentile(acknowledged, 99) / 1e6,
            }
        )
    )


if __name__ == "__main__":
    main()
