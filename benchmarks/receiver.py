"""``python -m benchmarks.receiver PORT``: answers 200 to every POST and notes when numbered events arrived.

``GET /arrivals`` gives ``{"number": [nanoseconds, ...]}`` on the monotonic clock, which processes of one machine share:
one instant for each time that the event arrived.
"""

import asyncio
import json
import re
import sys
import time
from typing import cast

import httptools
import uvloop

from .processes import put_first

_MARK = re.compile(rb'"bench":(\d+)')
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Receiver(asyncio.Protocol):
    """One connection."""

    def __init__(self, arrivals: dict[int, list[int]]) -> None:
        self._arrivals = arrivals
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Part of httptools."""
        self._url = url

    def on_body(self, body: bytes) -> None:
        """Part of httptools."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Part of httptools: note the arrival, then answer."""
        now_ns = time.monotonic_ns()
        mark = _MARK.search(b"".join(self._body))
        self._body.clear()
        if self._url == b"/arrivals":
            answer = json.dumps(self._arrivals).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))
            return
        if mark is not None and mark[1] != b"0":
            self._arrivals.setdefault(int(mark[1]), []).append(now_ns)
        self._transport.write(_OK)


async def main(port: int) -> None:
    """Receive until the process is ended."""
    arrivals: dict[int, list[int]] = {}
    server = await asyncio.get_running_loop().create_server(
        lambda: Receiver(arrivals), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    put_first()
    uvloop.run(main(int(sys.argv[1])))
