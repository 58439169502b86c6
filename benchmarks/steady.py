"""``python -m benchmarks.steady``: offers single events at a fixed rate, open loop; prints one JSON object.

The schedule is fixed before the first event: when the server stalls, events go on falling due, and each counts from the
instant it was due (not from when it could be sent), so that a stall is seen by all whom it would have hit. How late the
generator itself looks at a due event is told apart. One thread and ``select``: event loops count in milliseconds, and
two threads would wait for each other.
"""

import argparse
import contextlib
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


class Server:
    """One server's connections: those that are free, and the turns that wait for one."""

    def __init__(self, port: int, connections: int) -> None:
        self.port = port
        self.free = [Line(self) for _ in range(connections)]
        self.waiting: deque[int] = deque()


class Line:
    """One keep-alive connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.turn = -1
        self.refused = False
        self._answered = False
        self._parser = httptools.HttpResponseParser(self)

    def send(self, turn: int, request: bytes) -> None:
        """Send the request of ``turn``."""
        self.turn = turn
        with contextlib.suppress(ConnectionError):  # ``read`` will tell
            self.socket.sendall(request)

    def read(self) -> bool | None:
        """Read what has come: whether the answer is there; None if the server has closed the connection."""
        try:
            data = self.socket.recv(65_536)
        except ConnectionError:
            return None
        if not data:
            return None
        self._parser.feed_data(data)
        answered, self._answered = self._answered, False
        return answered

    def on_message_complete(self) -> None:
        """Part of httptools."""
        self._answered = True
        self.refused = self._parser.get_status_code() >= 400


class Offer:
    """The schedule, and what became of it; the servers take turns."""

    def __init__(self, ports: list[int], requests: list[bytes], rate: float) -> None:
        self._requests = requests
        self._rate = rate
        self._epoll = select.epoll()
        self._lines: dict[int, Line] = {}
        self._servers = [Server(port, _CONNECTIONS // len(ports)) for port in ports]
        for server in self._servers:
            for line in server.free:
                self._listen(line)
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

    def _listen(self, line: Line) -> None:
        self._lines[line.socket.fileno()] = line
        self._epoll.register(line.socket, select.EPOLLIN)

    def _due_ns(self, turn: int) -> int:
        return self._start_ns + int(turn * 1e9 / self._rate)

    def _send(self, turn: int) -> None:
        server = self._servers[turn % len(self._servers)]
        if server.free:
            # The one that was used last: few connections stay busy, the others are there for a stall.
            server.free.pop().send(turn, self._requests[turn])
        else:
            server.waiting.append(turn)

    def _read(self) -> None:
        for number, _ in self._epoll.poll(0):
            line = self._lines[number]
            answered = line.read()
            if answered is None:
                self._replace(line)
            elif answered:
                self._note(line)

    def _note(self, line: Line) -> None:
        self.acknowledged_ns.append(time.monotonic_ns() - self._due_ns(line.turn))
        self.refused += line.refused
        server = line.server
        if server.waiting:
            turn = server.waiting.popleft()
            line.send(turn, self._requests[turn])
        else:
            server.free.append(line)

    def _replace(self, line: Line) -> None:
        """A server closes connections that are idle for long, sometimes just as one is used: then it is sent again."""
        del self._lines[line.socket.fileno()]
        line.socket.close()
        fresh = Line(line.server)
        self._listen(fresh)
        if line in line.server.free:
            line.server.free.remove(line)
            line.server.free.insert(0, fresh)
        else:
            fresh.send(line.turn, self._requests[line.turn])


def requests_of(size: int, lanes: int, count: int, first: int, first_lane: int = 0) -> list[bytes]:
    """Requests with numbered bodies, made beforehand: that costs more than sending them."""
    blank = [
        request_bytes("/v1/events", published(size, first_lane + lane, FIRST_NUMBER)) for lane in range(lanes)
    ]
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
    parser.add_argument("--first-lane", type=int, default=0)
    asked = parser.parse_args()
    requests = requests_of(asked.size, asked.lanes, asked.count, asked.first, asked.first_lane)
    offer = Offer(asked.ports, requests, asked.rate)
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
