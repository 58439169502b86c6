"""A receiver in a process of its own: writes down each request before it answers, as its path tells it to.

``/steady`` answers 200, after ``?ms=`` milliseconds where given, the first request after ``?first_ms=``. ``/flaky``
fails now and then, by a seed: 500, a late answer, or none at all. A line of the log is one request.
"""

import argparse
import asyncio
import base64
import json
import random
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit


class Receiver:
    """Answers HTTP/1.1 and keeps the log."""

    def __init__(self, log: BinaryIO, seed: int) -> None:
        self._log = log
        self._random = random.Random(seed)
        self._seen: set[str] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        target = head[0].split(" ")[1]
        status, delay_s = self._decide(target)
        line = {
            "target": target,
            "headers": headers,
            "body": base64.b64encode(body).decode(),
            "status": status,
        }
        self._log.write(json.dumps(line).encode() + b"\n")
        self._log.flush()
        if delay_s:
            await asyncio.sleep(delay_s)
        if status == 0:
            return False
        writer.write(b"HTTP/1.1 %d Fine or not\r\ncontent-length: 2\r\n\r\n{}" % status)
        await writer.drain()
        return True

    def _decide(self, target: str) -> tuple[int, float]:
        """The status (0: hang up without an answer) and how long to wait before it."""
        parts = urlsplit(target)
        if parts.path == "/flaky":
            chance = self._random.random()
            status = 500 if chance < 0.08 else 0 if chance < 0.10 else 200
            return status, self._random.uniform(0.05, 0.4) if self._random.random() < 0.05 else 0.0
        asked = parse_qs(parts.query)
        first, self._seen = target not in self._seen, self._seen | {target}
        late = asked.get("first_ms", ["0"]) if first else ["0"]
        return 200, (int(asked.get("ms", ["0"])[0]) + int(late[0])) / 1000


async def _main(options: Any) -> None:
    with open(options.log, "wb") as log:  # noqa: ASYNC230 - opened before anything is served
        receiver = Receiver(log, options.seed)
        server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, limit=2**20, backlog=1024)
        print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--log", required=True)
    arguments.add_argument("--seed", type=int, default=0)
    asyncio.run(_main(arguments.parse_args()))
