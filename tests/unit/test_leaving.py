"""Native threads are waited for at the end of a program, but not for ever."""

import _thread
import threading

import pytest

from tellwire import leaving


def test_thread_that_stays_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ``threading`` does not know counts while it is in Python code; one that stays is left behind."""
    monkeypatch.setattr(leaving, "_AT_MOST_S", 0.01)
    inside, may_go, gone = threading.Event(), threading.Event(), threading.Event()

    def native() -> None:
        inside.set()
        may_go.wait()
        gone.set()

    _thread.start_new_thread(native, ())
    inside.wait()

    leaving.let_native_threads_out()
    assert leaving._native_threads_inside()
    may_go.set()
    gone.wait()
    monkeypatch.setattr(leaving, "_AT_MOST_S", 30.0)
    leaving.let_native_threads_out()
    assert not leaving._native_threads_inside()
