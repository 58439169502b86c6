"""Lines on their way to a stream: whole, in order, flushed; those that the stream refuses are dropped.

Log lines of attempts come in bursts, one burst for each batch that the recorder wrote. A system call for each of them
was an eighth of the event loop's time under load, so lines that can wait for the end of the loop's turn go together.
"""

import asyncio
import io
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, Final, TextIO

_TOGETHER_BYTES: Final = 4096
"""What a pipe takes in one piece (PIPE_BUF on Linux), so that lines of several processes do not mix in it."""


class LineLogger:
    """The logger below structlog: its methods take a rendered line."""

    def __init__(self, target: TextIO | BinaryIO) -> None:
        # The bytes below a text stream, if it has them: that saves decoding a line only to encode it again.
        stream = getattr(target, "buffer", target)
        self._to_text = isinstance(stream, io.TextIOBase)
        self._write: Callable[[Any], object] = stream.write
        self._flush: Callable[[], None] = stream.flush
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def now(self, line: str | bytes) -> None:
        """Write ``line``, after those that wait."""
        encoded = line.encode("utf-8", "backslashreplace") if isinstance(line, str) else line
        with self._lock:
            self._waiting.append(encoded)
            self._write_waiting()

    debug = info = warning = error = critical = now

    def soon(self, line: bytes) -> None:
        """Write ``line`` at the end of this turn of the event loop at the latest; without a loop, now."""
        with self._lock:
            if not self._waiting:
                try:
                    asyncio.get_running_loop().call_soon(self._end_of_turn)
                except RuntimeError:
                    self._waiting.append(line)
                    self._write_waiting()
                    return
            elif self._waiting_bytes + len(line) >= _TOGETHER_BYTES:
                self._write_waiting()
            self._waiting.append(line)
            self._waiting_bytes += len(line) + 1

    def _end_of_turn(self) -> None:
        with self._lock:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        self._waiting.append(b"")
        written = b"\n".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        try:
            self._write(written.decode() if self._to_text else written)
            self._flush()
        except (OSError, ValueError):
            pass
