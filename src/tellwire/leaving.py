"""Lets native threads out of Python before the interpreter ends.

The HTTP client runs on a thread of Rust, which wakes the event loop (``call_soon_threadsafe``) and, while it does,
gives the interpreter away. Python up to 3.13 ends a thread that wants the interpreter back once it is being taken
apart; Rust cannot be unwound like that, and the process aborts (code 134). So a program that ends right after an
answer, or after none, waits here until such threads have left: as a rule, for less than a millisecond.
"""

import sys
import threading
import time
from typing import Final

_AT_MOST_S: Final = 3.0
_PAUSE_S: Final = 0.001


def let_native_threads_out() -> None:
    """Wait, 3 seconds at the most, until no thread that ``threading`` does not know is in Python code.

    To be called by ``atexit``, by every module that uses the HTTP client.
    """
    until = time.monotonic() + _AT_MOST_S
    while _native_threads_inside() and time.monotonic() < until:
        time.sleep(_PAUSE_S)  # gives the interpreter away


def _native_threads_inside() -> bool:
    ours = {thread.ident for thread in threading.enumerate()}
    return not ours.issuperset(sys._current_frames())
