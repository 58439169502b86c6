"""Processes of Python that start at once: forked from one that has imported Tellwire already (``zygote``).

To be used as ``subprocess.Popen`` is, in tests that are about what a process does, not about how Python starts it.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
TELLWIRE = "from tellwire.cli import main; main()"
"""The program ``tellwire``."""
Stream = int | IO[bytes] | None
"""As of ``subprocess.Popen``: PIPE, DEVNULL, a file, or None for that of the tests."""


class Forked:
    """``python -c PROGRAM ARGUMENTS``; ``strict`` is ``-W error``."""

    def __init__(
        self,
        program: str,
        arguments: Sequence[str] = (),
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        strict: bool = False,
    ) -> None:
        asked = {
            "program": program, "arguments": list(arguments), "folder": str(cwd), "environment": dict(env),
            "strict": strict,
        }  # fmt: skip
        self.returncode: int | None = None
        self._said = b""
        self._told, tell = os.pipe()
        inner: list[int] = []
        self.stdin, self.stdout, self.stderr = (
            self._joined(stream, number, inner) for number, stream in enumerate((stdin, stdout, stderr))
        )
        _ask(json.dumps(asked).encode() + b"\n", [*inner, tell])
        for fd in (*inner, tell):
            os.close(fd)
        self._read_line(None)
        self.pid = int(self._said.partition(b"\n")[0])
        self._said = self._said.partition(b"\n")[2]

    def _joined(self, stream: Stream, number: int, inner: list[int]) -> IO[bytes] | None:
        """Append the other end of a stream to ``inner``; gives ours, if there is one."""
        if stream == PIPE:
            reading, writing = os.pipe()
            inner.append(reading if number == 0 else writing)
            return os.fdopen(writing, "wb", 0) if number == 0 else os.fdopen(reading, "rb")
        if stream == DEVNULL:
            inner.append(os.open(os.devnull, os.O_RDWR))
        else:
            inner.append(
                os.dup(number if stream is None else stream if isinstance(stream, int) else stream.fileno())
            )
        return None

    def __del__(self) -> None:
        if self.returncode is None:
            os.close(self._told)

    def poll(self) -> int | None:
        """The exit code, if it has ended; negative is the signal that ended it."""
        if self.returncode is None:
            self._read_line(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, as soon as there is one. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._read_line(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("forked", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close our ends of its streams."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def _read_line(self, timeout_s: float | None) -> None:
        """Read on, until there is a line or no time left: the first has the id, the second the exit code."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while b"\n" not in self._said:
            left_s = None if end is None else max(end - time.monotonic(), 0)
            if not select.select([self._told], [], [], left_s)[0]:
                return
            piece = os.read(self._told, 100)
            assert piece, "the process that others are forked from has ended"
            self._said += piece
        if hasattr(self, "pid"):
            self.returncode = int(self._said)
            os.close(self._told)


def run(
    program: str,
    arguments: Sequence[str] = (),
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float,
    strict: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = Forked(
            program, arguments, cwd=cwd, env=env, strict=strict, stdin=DEVNULL, stdout=out, stderr=err
        )
        try:
            code = started.wait(timeout_s)
        finally:
            started.kill()
        said = [(stream.seek(0), stream.read().decode())[1] for stream in (out, err)]
    return subprocess.CompletedProcess([program, *arguments], code, *said)


def outside() -> dict[str, str]:
    """The environment of the tests without any settings of Tellwire."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TELLWIRE_")}


_turn = threading.Lock()


def _ask(message: bytes, fds: list[int]) -> None:
    with _turn:
        control = _zygote()
        sent = socket.send_fds(control, [message[:60_000]], fds)
        control.sendall(message[sent:])


@cache
def _zygote() -> socket.socket:
    """The way to the process that others are forked from, which ends when this one does."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, str(Path(__file__).with_name("zygote.py")), str(theirs.fileno())]
    process = subprocess.Popen(
        command, env=outside(), stdin=DEVNULL, stdout=DEVNULL, pass_fds=[theirs.fileno()]
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
