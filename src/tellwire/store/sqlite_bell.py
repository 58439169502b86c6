"""A bell between processes on one SQLite file: who leaves something to the others rings, and they look.

Each process has a datagram socket in a folder beside the file, and a ring is an empty datagram to all others there.
Nothing depends on it: where there can be no such socket (a path that is too long, a file system that knows none, a
folder that is not ours) or a ring is lost, processes look four times a second all the same.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
from pathlib import Path
from typing import Final

from tellwire.waking import woken

_APART_S: Final = 0.02
"""Rings that are closer together are one."""

_log: Final = logging.getLogger(__name__)


class Bell:
    """One process's socket, and how it rings at the others'."""

    def __init__(self, file: Path) -> None:
        self._folder = file.with_name(file.name + "-bells")
        self._own = self._folder / secrets.token_hex(4)
        self._rang = asyncio.Event()
        self._socket: socket.socket | None = None
        self._due: asyncio.TimerHandle | None = None
        self._rang_at = 0.0

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear the others from now on, where that is possible."""
        self._loop = loop
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._bind(self._socket)
        except OSError as error:
            _log.debug("no bell at %s: %s", self._own, error)
            self._hang_up()
            return
        loop.add_reader(self._socket, self._hear)

    def close(self) -> None:
        """Neither hear nor ring any more; a ring that was due is rung."""
        if self._due is not None:
            self._due.cancel()
            self._ring()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            with contextlib.suppress(OSError):
                self._own.unlink()
            with contextlib.suppress(OSError):  # of somebody who still has a bell
                self._folder.rmdir()
        self._hang_up()

    def ring(self) -> None:
        """Have the others look: at once, or a moment after the last time."""
        if self._socket is None or self._due is not None:
            return
        wait_s = self._rang_at + _APART_S - self._loop.time()
        if wait_s > 0:
            self._due = self._loop.call_later(wait_s, self._ring)
        else:
            self._ring()

    async def rung(self, timeout_s: float) -> None:
        """Return when another process has rung since this was last called, or after ``timeout_s``."""
        await woken(self._rang, timeout_s)
        self._rang.clear()

    def _bind(self, own: socket.socket) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        try:
            own.bind(str(self._own))
        except FileNotFoundError:  # whoever was the last until now has just taken the folder away
            self._folder.mkdir(mode=0o700, exist_ok=True)
            own.bind(str(self._own))

    def _ring(self) -> None:
        self._due = None
        self._rang_at = self._loop.time()
        assert self._socket is not None  # noqa: S101 - or nothing would have been due
        with contextlib.suppress(OSError):
            for other in self._folder.iterdir():
                if other.name != self._own.name:
                    self._ring_at(self._socket, other)

    @staticmethod
    def _ring_at(own: socket.socket, other: Path) -> None:
        try:
            own.sendto(b"", str(other))
        except ConnectionRefusedError:  # its process died
            with contextlib.suppress(OSError):
                other.unlink()
        except OSError:  # gone meanwhile, or it has not heard the last thousand rings yet
            pass

    def _hear(self) -> None:
        assert self._socket is not None  # noqa: S101 - it is its reader
        with contextlib.suppress(OSError):
            while True:
                self._socket.recv(1)
        self._rang.set()

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
