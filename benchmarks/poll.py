"""``python -m benchmarks.poll``: clients that ask for news instead of being told; prints one JSON object.

Each asks ``GET /v1/events`` over a connection of its own, so many times a second, each at another moment, and notes
when it first sees an event, by its type. ``seen`` gives those instants (monotonic, ns).
"""

import argparse
import asyncio
import json
import re
import time
from typing import cast

import httptools
import uvloop

from .bodies import KEY

_TYPE = re.compile(rb'"type":"(bench\.[a-z0-9]+)"')
_REQUEST = (
    "GET /v1/events?limit=10 HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer " + KEY + "\r\n\r\n"
).encode()


class Client(asyncio.Protocol):
    """One client."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.answers = 0
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Part of httptools."""
        self._body += body

    def on_message_complete(self) -> None:
        """Part of httptools: note what is new."""
        now_ns = time.monotonic_ns()
        self.answers += 1
        for type in _TYPE.findall(self._body):
            self.seen.setdefault(type.decode(), now_ns)
        self._body = b""

    async def ask(self, offset_s: float, every_s: float, end: float) -> None:
        """Ask until the end."""
        due = time.monotonic() + offset_s
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._transport.write(_REQUEST)
            due += every_s


async def main() -> None:
    """Poll, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--per-s", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args()
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(Client, "127.0.0.1", asked.port))[1] for _ in range(asked.clients)
    ]
    end, every_s = time.monotonic() + asked.seconds, 1 / asked.per_s
    await asyncio.gather(
        *(client.ask(every_s * number / len(clients), every_s, end) for number, client in enumerate(clients))
    )
    await asyncio.sleep(0.5)
    answers = sum(client.answers for client in clients)
    print(json.dumps({"answers": answers, "seen": [client.seen for client in clients]}))


if __name__ == "__main__":
    uvloop.run(main())
