"""``tellwire`` as a process of its own, for tests."""

import queue
import signal
import threading
from pathlib import Path
from typing import IO

from tests.forked import PIPE, TELLWIRE, Forked, outside

WAIT_S = 90.0


class Process:
    """One ``tellwire`` as a process of its own; its lines are read as they come."""

    def __init__(self, here: Path, *args: str) -> None:
        self.process = Forked(TELLWIRE, args, cwd=here, env=outside(), stdin=PIPE, stdout=PIPE, stderr=PIPE)
        self._lines: dict[str, queue.Queue[bytes]] = {"out": queue.Queue(), "err": queue.Queue()}
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        streams = {"out": self.process.stdout, "err": self.process.stderr}
        self._threads = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in streams.items()
        ]
        for thread in self._threads:
            thread.start()

    def line(self, stream: str = "out") -> str:
        """The next line of a stream."""
        line = self._lines[stream].get(timeout=WAIT_S).decode()
        assert line, f"{stream} ended: {self.rest('err')}"
        return line

    def rest(self, stream: str) -> str:
        """The lines that have come since."""
        found = []
        while not self._lines[stream].empty():
            found.append(self._lines[stream].get().decode())
        return "".join(found)

    def write(self, text: str) -> None:
        """Write to its standard input, at once."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Close its input, wait for its end and give the exit code."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        code = self.process.wait(WAIT_S)
        for thread in self._threads:
            thread.join(WAIT_S)
        return code

    def _read(self, name: str, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._lines[name].put(line)
        self._lines[name].put(b"")
