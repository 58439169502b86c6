"""``python -m benchmarks.load``: the load generator where wrk is missing; prints one JSON object."""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools
import uvloop

from .bodies import KEY


@dataclass
class Tally:
    """What all connections share."""

    requests: list[bytes]
    most: int
    end: float
    sent: int = 0
    answered: int = 0
    refused: int = 0
    broken: int = 0

    def next_request(self) -> bytes | None:
        """What to send next; None at the end."""
        if self.sent >= self.most or time.monotonic() >= self.end:
            return None
        self.sent += 1
        return self.requests[self.sent % len(self.requests)]


class Connection(asyncio.Protocol):
    """One connection: the next request as soon as the last is answered."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._parser = httptools.HttpResponseParser(self)
        self._waiting = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Part of httptools."""
        self._waiting = False
        self._tally.answered += 1
        self._tally.refused += self._parser.get_status_code() >= 400
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._tally.broken += self._waiting
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        request = self._tally.next_request()
        if request is None:
            self._transport.close()
            return
        self._waiting = True
        self._transport.write(request)


def request_bytes(path: str, body: bytes) -> bytes:
    """A publish request as it goes over the wire."""
    return (
        b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
    ) % (path.encode(), KEY.encode(), len(body), body)


async def main() -> None:
    """Offer the load, print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--path", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--most", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("files", type=Path, nargs="+")
    asked = parser.parse_args()
    requests = [request_bytes(asked.path, file.read_bytes()) for file in asked.files]
    started = time.monotonic()
    tally = Tally(requests, asked.most, started + asked.seconds)
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(tally), "127.0.0.1", asked.port)
        for _ in range(asked.concurrency)
    ]
    await asyncio.wait([connection.ended for _, connection in made], timeout=asked.seconds + 30)
    seen = {"answered": tally.answered, "refused": tally.refused, "broken": tally.broken}
    print(json.dumps({**seen, "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    uvloop.run(main())
