"""Clocks that are wrong, and what their processes make of them.

A host's clock is seconds ahead or behind, drifts and is set; its steady clock only drifts. As on PostgreSQL, a process
goes by neither: it asks the server for the time, over the simulated network, and counts on by the steady one. That
logic is the product's own (``store.postgres_clock``). Beside it stands how far off it may be: the tolerance of the
invariants follows from the round trips, and from nothing else.
"""

from typing import NamedTuple

from tellwire.clock import Clock
from tellwire.store.postgres_clock import ServerClock

from .virtual import EPOCH_MS, Timeline

DRIFT = 100e-6
"""How far a clock may run away from the true time, at most: what bad quartz does."""
ROUNDING_MS = 2
"""Instants are whole milliseconds."""


class HostClock:
    """The clock of one host: ahead or behind, a little too fast or too slow, and sometimes set anew."""

    def __init__(self, timeline: Timeline, ahead_s: float, drift: float) -> None:
        self._timeline = timeline
        self._drift = drift
        self.ahead_s = ahead_s
        self.steady = _Steady(self, ahead_s)

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00Z, as this host believes."""
        return EPOCH_MS + round((self.passed_s() + self.ahead_s) * 1000)

    def passed_s(self) -> float:
        """How long the simulation has lasted, by this host's quartz."""
        return self._timeline.now_s * (1 + self._drift)


class _Steady:
    """The host's clock that is never set."""

    def __init__(self, host: HostClock, ahead_s: float) -> None:
        self._host = host
        self._ahead_s = ahead_s

    def now_ms(self) -> float:
        """Milliseconds since some instant; finer than a ``Clock``, as the product's ``steady_ms`` is."""
        return EPOCH_MS + (self._host.passed_s() + self._ahead_s) * 1000


class Question(NamedTuple):
    """The server was asked for its time: to be given back with the answer."""

    steady_ms: float
    asked_s: float


class MeasuredClock:
    """The server's clock as one process has measured it."""

    def __init__(self, timeline: Timeline, host: HostClock) -> None:
        self._timeline = timeline
        self._server = ServerClock(host.steady)  # type: ignore[arg-type]  # it is finer than a Clock
        self._doubt_ms = float("inf")
        self._measured_s = 0.0

    @property
    def clock(self) -> Clock:
        """What the process goes by."""
        return self._server

    @property
    def doubt_ms(self) -> float:
        """How far off it may be now: half the quickest round trip, and what clocks have drifted apart since."""
        return self._doubt_ms + (self._timeline.now_s - self._measured_s) * 1000 * DRIFT

    def ask(self) -> Question:
        """The server is asked for its time."""
        return Question(self._server.ask(), self._timeline.now_s)

    def told(self, question: Question, server_s: float) -> None:
        """The answer has come: it was ``server_s`` there, seconds of the simulation."""
        self._server.told(question.steady_ms, EPOCH_MS / 1000 + server_s)
        now_s = self._timeline.now_s
        # The product allows for clocks that run apart twice as fast.
        older_ms = self._doubt_ms + (now_s - self._measured_s) * 1000 * 2 * DRIFT
        trip_ms = (now_s - question.asked_s) * 1000
        self._doubt_ms = min(trip_ms / 2 + trip_ms * 2 * DRIFT, older_ms)
        self._measured_s = now_s
