"""``python -m benchmarks.steady``: offers single events at a fixed rate, open loop; prints one JSON object.

The schedule is fixed before the first event: when the server stalls, events go on falling due, and each counts from the
instant it was due (not from when it could be sent), so that a stall is seen by all whom it would have hit. How late the
generator itself looks at a due event is told apart. One thread and ``select``: event loops count in milliseconds, and
two threads would wait for each other.
"""

import argparse
import json
import select
import socket
import time
from collections import deque

import httptools

from .bodies import FIRST_NUMBER, published
from .load import request_bytes
from .numbers import percentile
from .processes import put_first

_CONNECTIONS = 256
_LAST_ANSWERS_WITHIN_S = 20.0


class Line:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.turn = -1
        self.refused = False
        self._answered = False
        self._parser = httptools.HttpResponseParser(self)

    def send(self, turn: int, request: bytes) -> None:
        """Send the request of ``turn``."""
        self.turn = turn
        self.socket.sendall(request)

    def answered(self) -> bool:
        """Read what has come: whether the answer is there."""
        data = self.socket.recv(65_536)
        if not data:
            raise SystemExit("the server has closed a connection")
        self._parser.feed_data(data)
        answered, self._answered = self._answered, False
        return answered

    def on_message_complete(self) -> None:
        """Part of httptools."""
        self._answered = True
        self.refused = self._parser.get_status_code() >= 400


class Offer:
    """The schedule, and what became of it."""

    def __init__(self, ports: list[int], requests: list[bytes], rate: float) -> None:
        self._requests = requests
        self._rate = rate
        self._waiting: deque[int] = deque()
        self._free: deque[Line] = deque()
        self._lines: dict[int, Line] = {}
        self._epoll = select.epoll()
        for number in range(_CONNECTIONS):
            line = Line(ports[number % len(ports)])
            self._lines[line.socket.fileno()] = line
            self._epoll.register(line.socket, select.EPOLLIN)
            self._free.append(line)
        self.late_ns: list[int] = []
        self.acknowledged_ns: list[int] = []
        self.refused = 0

    def run(self) -> int:
        """Offer everything and wait for the answers; gives the instant at which the first was due."""
        count = len(self._requests)
        self._start_ns = start_ns = time.monotonic_ns() + 50_000_000
        end_ns = start_ns + int(count / self._rate * 1e9 + _LAST_ANSWERS_WITHIN_S * 1e9)
        turn, due_ns = 0, start_ns
        while len(self.acknowledged_ns) < count and (now_ns := time.monotonic_ns()) < end_ns:
            while turn < count and due_ns <= now_ns:
                self.late_ns.append(now_ns - due_ns)
                self._send(turn)
                turn += 1
                due_ns = self._due_ns(turn)
                now_ns = time.monotonic_ns()
            wait_ns = due_ns - now_ns if turn < count else 100_000_000
            if select.select([self._epoll.fileno()], [], [], max(wait_ns, 0) / 1e9)[0]:
                self._read()
        return start_ns

    def _due_ns(self, turn: int) -> int:
        return self._start_ns + int(turn * 1e9 / self._rate)

    def _send(self, turn: int) -> None:
        if self._free:
            self._free.popleft().send(turn, self._requests[turn])
        else:
            self._waiting.append(turn)

    def _read(self) -> None:
        for number, _ in self._epoll.poll(0):
            line = self._lines[number]
            if not line.answered():
                continue
            self.acknowledged_ns.append(time.monotonic_ns() - self._due_ns(line.turn))
            self.refused += line.refused
            if self._waiting:
                turn = self._waiting.popleft()
                line.send(turn, self._requests[turn])
            else:
                self._free.append(line)


def requests_of(size: int, lanes: int, count: int, first: int) -> list[bytes]:
    """Requests with numbered bodies, made beforehand: that costs more than sending them."""
    blank = [request_bytes("/v1/events", published(size, lane, FIRST_NUMBER)) for lane in range(lanes)]
    mark = b'"bench":%d' % FIRST_NUMBER
    return [
        blank[turn % lanes].replace(mark, b'"bench":%d' % (FIRST_NUMBER + first + turn), 1)
        for turn in range(count)
    ]


def main() -> None:
    """Offer events, wait for the answers, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ports", type=int, nargs="+", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--lanes", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    offer = Offer(asked.ports, requests_of(asked.size, asked.lanes, asked.count, asked.first), asked.rate)
    put_first()
    start_ns = offer.run()
    acknowledged = list(offer.acknowledged_ns)
    print(
        json.dumps(
            {
                "start_ns": start_ns,
                "acknowledged": len(acknowledged),
                "refused": offer.refused,
                "late_p99_ms": percentile(offer.late_ns, 99) / 1e6,
                "ack_p50_ms": percentile(acknowledged, 50) / 1e6,
                "ack_p99_ms": percentile(acknowledged, 99) / 1e6,
            }
        )
    )


if __name__ == "__main__":
    main()
