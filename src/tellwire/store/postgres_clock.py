"""The time as PostgreSQL's server has it, in a process whose own clock may be wrong.

Leases and due times are compared across processes, so all of them must go by one clock: the server's. Each transaction
asks for it along with the revision of the control plane, which costs no statement, and in between it is counted on by a
clock that nobody can set. So a lease is never judged by what a host believes (docs/adr/0008-the-servers-clock.md).
"""

import time
from collections.abc import Callable
from math import inf
from typing import Final

from tellwire.clock import Clock, SystemClock

_DRIFT: Final = 200e-6
"""How far two clocks may run apart, at most: twice what bad quartz does."""
_RESOLUTION_MS: Final = 0.001
"""The server tells whole microseconds: what is off by so little contradicts nothing."""


def steady_ms() -> float:
    """Milliseconds since some instant, by a clock that goes on in sleep where there is one and is never set."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() / 1e6 if boot is None else time.clock_gettime_ns(boot) / 1e6


class ServerClock:
    """See ``clock.Clock``. Until it is first measured, it is the machine's clock.

    What is known is an interval: the server's clock is ahead of ours by at least ``low`` and at most ``high``. A
    measurement that took long is a wide interval and does no harm; the quick ones narrow it.
    """

    def __init__(self, own: Clock | None = None) -> None:
        """``own``: what to count on by, instead of the steady clock."""
        self._own_ms: Callable[[], float] = steady_ms if own is None else own.now_ms
        self._low, self._high = -inf, inf
        self._measured_ms = 0.0
        self._ahead_ms = (own or SystemClock()).now_ms() - self._own_ms()

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00Z, by the server's clock."""
        return int(self._own_ms() + self._ahead_ms)

    def ask(self) -> float:
        """Call before the server is asked for its time; the answer goes to ``told`` with what this gives."""
        return self._own_ms()

    def told(self, asked: float, server_s: float) -> None:
        """The server said ``server_s``, seconds since 1970, at some moment since ``asked``."""
        now, server_ms = self._own_ms(), server_s * 1000
        meanwhile = (now - asked) * _DRIFT
        low, high = server_ms - now - meanwhile, server_ms - asked + meanwhile
        drift = abs(now - self._measured_ms) * _DRIFT + _RESOLUTION_MS
        narrow_low, narrow_high = max(low, self._low - drift), min(high, self._high + drift)
        if narrow_low <= narrow_high:
            low, high = narrow_low, narrow_high
        # else: one of the clocks was set, or it is another server. The new measurement alone counts.
        self._low, self._high, self._measured_ms = low, high, now
        self._ahead_ms = (low + high) / 2
