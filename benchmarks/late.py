"""``python -m benchmarks.late PORT MS``: a receiver that answers 200 after so long, and notes when requests came.

``GET /`` gives how many there were since the last ``GET /``, and the seconds between the first and the last answer.
"""

import asyncio
import json
import sys
import time


class Late:
    """Answers late."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._answered: list[float] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if head.startswith(b"get"):
                    writer.write(self._told())
                    continue
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                await asyncio.sleep(self._after_s)
                self._answered.append(time.monotonic())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _told(self) -> bytes:
        answered, self._answered = self._answered, []
        span_s = answered[-1] - answered[0] if answered else 0.0
        body = json.dumps({"count": len(answered), "span_s": span_s}).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def main(port: int, after_ms: float) -> None:
    """Receive until the process is ended."""
    server = await asyncio.start_server(Late(after_ms / 1000).answer, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
