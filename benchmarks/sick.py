"""``python -m benchmarks.sick PORT``: a receiver that is not well. ``/slow`` takes 10 s, all else answers 500."""

import asyncio
import sys

_SLOW_S = 10.0
_ANSWERS = {status: b"HTTP/1.1 %d Answer\r\ncontent-length: 0\r\n\r\n" % status for status in (200, 500)}


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            slow = head.split(b" ")[1] == b"/slow"
            if slow:
                await asyncio.sleep(_SLOW_S)
            writer.write(_ANSWERS[200 if slow else 500])
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    """Receive until the process is ended."""
    server = await asyncio.start_server(_answer, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
