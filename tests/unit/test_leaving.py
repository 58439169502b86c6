"""Native threads are waited for at the end of a program, but not for ever."""

import subprocess
import sys

_PROGRAM = """
import _thread, threading
from tellwire import leaving

leaving._AT_MOST_S = 0.01
inside, may_go = threading.Event(), threading.Event()

def native():
    inside.set()
    may_go.wait()

_thread.start_new_thread(native, ())
inside.wait()
leaving.let_native_threads_out()
assert leaving._native_threads_inside()
may_go.set()
leaving._AT_MOST_S = 30.0
leaving.let_native_threads_out()
assert not leaving._native_threads_inside()
"""


def test_thread_that_stays_is_not_waited_for_for_ever() -> None:
    """A thread that ``threading`` does not know counts while it is in Python code; one that stays is left behind.

    In a process of its own: that of the tests has such threads of others.
    """
    ended = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
