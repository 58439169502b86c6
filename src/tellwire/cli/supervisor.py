"""Several processes of one command: forked, watched, started again, stopped together.

The supervisor itself opens no database and runs no event loop, so that it can fork at any time. It ends with its
processes, and they with it: each watches a pipe that closes when the supervisor is gone.
"""

import os
import selectors
import signal
import sys
import time
import traceback
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any, Final

import typer

from .failures import Code, told

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 30.0
_LIVED_LONG_S: Final = 60.0
_ENOUGH_TO_STOP_S: Final = 15.0
_STOP: Final = (signal.SIGTERM, signal.SIGINT)


class Child:
    """What a forked process knows of its supervisor."""

    def __init__(self, number: int, ready_fd: int, lifeline_fd: int) -> None:
        """``number`` counts the places from 0; who is started in another's place has its number."""
        self.number = number
        self._ready_fd = ready_fd
        self._lifeline_fd = lifeline_fd

    def ready(self) -> None:
        """Say that this process works."""
        os.write(self._ready_fd, b"!")

    def stop_with_supervisor(self, loop: AbstractEventLoop) -> None:
        """Stop gracefully, as on SIGTERM, when the supervisor is gone."""

        def orphaned() -> None:
            loop.remove_reader(self._lifeline_fd)
            os.kill(os.getpid(), signal.SIGTERM)

        loop.add_reader(self._lifeline_fd, orphaned)


class _Slot:
    """The place of one process: who fills it at present, and when it is to be filled again."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid: int | None = None
        self.ready_fd: int | None = None
        self.was_ready = False
        self.started_s = 0.0
        self.start_at_s: float | None = 0.0
        self.pause_s = _FIRST_PAUSE_S


class Supervisor:
    """Keeps ``count`` processes that run ``live``; ``run`` returns when all have ended."""

    def __init__(
        self, count: int, live: Callable[[Child], None], on_ready: Callable[[], None], *, grace_s: float
    ) -> None:
        """``on_ready`` is called once, when every process has said that it works."""
        self._slots = [_Slot(number) for number in range(count)]
        self._live = live
        self._on_ready = on_ready
        self._patience_s = 2 * grace_s + _ENOUGH_TO_STOP_S
        self._kill_at_s: float | None = None
        self._code: int = Code.OK
        import structlog  # here, since it takes long and no other command needs it

        self._log = structlog.get_logger()

    def run(self) -> int:
        """Supervise until a signal; gives the exit code: that of a process which could not even start, or 0."""
        self._lifeline_fd, self._lifeline_end_fd = os.pipe()
        self._signal_fd, signal_end_fd = os.pipe()
        for fd in (self._signal_fd, signal_end_fd):
            os.set_blocking(fd, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._signal_fd, selectors.EVENT_READ)
        before = {
            number: signal.signal(number, lambda *_: None) for number in (*_STOP, signal.SIGCHLD)
        }  # without a handler, nothing is written to the wakeup descriptor
        signal.set_wakeup_fd(signal_end_fd, warn_on_full_buffer=False)
        try:
            while self._kill_at_s is None or any(slot.pid for slot in self._slots):
                self._turn()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._code

    def _turn(self) -> None:
        now_s = time.monotonic()
        if self._kill_at_s is None:
            for slot in self._slots:
                if slot.start_at_s is not None and slot.start_at_s <= now_s:
                    self._start(slot)
        elif now_s >= self._kill_at_s:
            self._signal(signal.SIGKILL)
        times = [slot.start_at_s for slot in self._slots] if self._kill_at_s is None else [self._kill_at_s]
        next_s = min((at for at in times if at is not None), default=None)
        timeout_s = None if next_s is None else max(next_s - time.monotonic(), 0.01)
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._heed(os.read(self._signal_fd, 512))
            else:
                self._hear(key.data)
        self._reap()

    def _heed(self, numbers: bytes) -> None:
        for number in numbers:
            if number not in _STOP:
                continue
            if self._kill_at_s is None:
                self._stop()
            else:  # a second signal ends all at once
                self._signal(signal.SIGKILL)

    def _stop(self) -> None:
        self._kill_at_s = time.monotonic() + self._patience_s
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid is not None:
                os.kill(slot.pid, number)  # not reaped yet, so it is still this process

    def _hear(self, slot: _Slot) -> None:
        assert slot.ready_fd is not None  # noqa: S101 - it was registered with it
        said = os.read(slot.ready_fd, 16)
        self._forget(slot)
        if said and not slot.was_ready:
            slot.was_ready = True
            if all(each.was_ready for each in self._slots):
                self._on_ready()

    def _forget(self, slot: _Slot) -> None:
        if slot.ready_fd is not None:
            self._selector.unregister(slot.ready_fd)
            os.close(slot.ready_fd)
            slot.ready_fd = None

    def _start(self, slot: _Slot) -> None:
        ready_fd, ready_end_fd = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal must not reach the child while it still has the handlers of its supervisor, which do nothing.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        pid = os.fork()
        if pid == 0:
            os.close(ready_fd)
            self._be_child(Child(slot.number, ready_end_fd, self._lifeline_fd), before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(ready_end_fd)
        slot.pid, slot.ready_fd = pid, ready_fd
        slot.started_s, slot.start_at_s = time.monotonic(), None
        self._selector.register(ready_fd, selectors.EVENT_READ, slot)

    def _be_child(self, child: Child, signals: set[int] | set[signal.Signals]) -> None:
        code = int(Code.REFUSED)
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_STOP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            os.setpgid(0, 0)  # Ctrl-C is for the supervisor, which passes it on
            os.close(self._lifeline_end_fd)
            with told():
                self._live(child)
            code = int(Code.OK)
        except typer.Exit as exit:
            code = exit.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.pid is None:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if pid:
                self._ended(slot, os.waitstatus_to_exitcode(status))

    def _ended(self, slot: _Slot, code: int) -> None:
        pid, slot.pid = slot.pid, None
        if slot.ready_fd is not None:
            self._hear(slot)  # its last word; the pipe has ended, so this waits for nothing
        if self._kill_at_s is not None:
            # One that had not yet begun to heed the signal had nothing to stop either.
            if code not in (0, -signal.SIGTERM):
                self._code = self._code or Code.REFUSED
            return
        if code > 0 and not all(each.was_ready for each in self._slots):
            self._code = code  # it could not start, has told why, and would not the next time either
            self._stop()
            return
        now_s = time.monotonic()
        if now_s - slot.started_s >= _LIVED_LONG_S:
            slot.pause_s = _FIRST_PAUSE_S
        slot.start_at_s = now_s + slot.pause_s
        self._tell(pid, code, slot.pause_s)
        slot.pause_s = min(slot.pause_s * 2, _LONGEST_PAUSE_S)

    def _tell(self, pid: Any, code: int, pause_s: float) -> None:
        ended = {"signal": signal.Signals(-code).name} if code < 0 else {"code": code}
        self._log.error("process ended, another starts", pid=pid, **ended, in_s=pause_s)
