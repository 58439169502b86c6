"""The server's clock, as a process with a wrong clock of its own counts it on."""

import time

import pytest

from tellwire.store.postgres_clock import ServerClock

NOON_MS = 1_790_000_000_000


class Host:
    """A machine's clock, which is ``wrong_ms`` off the server's, and time that passes."""

    def __init__(self, wrong_ms: int = 0) -> None:
        self.true_ms = NOON_MS
        self.wrong_ms = wrong_ms

    def now_ms(self) -> int:
        return self.true_ms + self.wrong_ms

    def ask(self, clock: ServerClock, *, there_ms: int = 0, back_ms: int = 0) -> None:
        """Ask the server for its time, over a network that is so slow."""
        asked = clock.ask()
        self.true_ms += there_ms
        said = self.true_ms / 1000
        self.true_ms += back_ms
        clock.told(asked, said)


def test_a_wrong_clock_is_right_once_the_server_was_asked() -> None:
    """Half a minute too fast or too slow: after one quick answer, the time is the server's, and goes on."""
    for wrong_ms in (-30_000, 30_000):
        host = Host(wrong_ms)
        clock = ServerClock(host)
        host.ask(clock, there_ms=1, back_ms=1)
        host.true_ms += 10_000
        assert abs(clock.now_ms() - host.true_ms) <= 1


def test_before_it_is_asked_the_time_is_the_machines() -> None:
    """Something must stand there until then; without a clock of its own, it is the system's."""
    assert ServerClock(Host(-5)).now_ms() == NOON_MS - 5
    assert ServerClock().now_ms() > NOON_MS - 400 * 86_400_000


def test_a_late_answer_spoils_nothing() -> None:
    """An answer that was seconds on its way cannot move what a quick one has told, whichever way was slow."""
    for there_ms, back_ms in ((0, 4_000), (4_000, 0)):
        host = Host(12_345)
        clock = ServerClock(host)
        host.ask(clock, there_ms=1, back_ms=1)
        host.ask(clock, there_ms=there_ms, back_ms=back_ms)
        assert abs(clock.now_ms() - host.true_ms) <= 2


def test_a_clock_that_was_set_is_seen_by_the_next_answer() -> None:
    """Whether the host's clock was set or the server is another one: what it says next counts."""
    host = Host()
    clock = ServerClock(host)
    host.ask(clock, there_ms=1, back_ms=1)
    for wrong_ms in (30_000, -30_000, 700):
        host.wrong_ms = wrong_ms
        host.ask(clock, there_ms=1, back_ms=1)
        assert abs(clock.now_ms() - host.true_ms) <= 1


def test_clocks_may_drift_apart() -> None:
    """A host's clock that loses a second in a quarter of a day is followed."""
    host = Host()
    clock = ServerClock(host)
    for _ in range(100):
        host.ask(clock, there_ms=1, back_ms=1)
        host.true_ms += 21_600_000 // 100
        host.wrong_ms -= 10
    host.ask(clock, there_ms=1, back_ms=1)
    assert abs(clock.now_ms() - host.true_ms) <= 2


def test_it_is_counted_on_by_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets the host's clock between two answers moves nothing."""
    clock, host = ServerClock(), Host()
    clock.told(clock.ask(), host.true_ms / 1000)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= clock.now_ms() - host.true_ms < 60_000


class FineHost:
    """A clock without whole milliseconds, as the steady one is; the server tells whole microseconds."""

    def __init__(self) -> None:
        self.true_ms = float(NOON_MS)

    def now_ms(self) -> float:
        return self.true_ms

    def server_s(self) -> float:
        return int(self.true_ms * 1000) / 1e6


def test_what_is_rounded_is_no_contradiction() -> None:
    """A slow answer that left the server at the moment of a quick one's spoils nothing, however times are rounded."""
    for number in range(1, 200):
        host = FineHost()
        clock = ServerClock(host)  # type: ignore[arg-type]  # finer than a Clock
        asked_long_ago = clock.ask()
        host.true_ms += 40 + number / 997
        clock.told(clock.ask(), host.server_s())
        host.true_ms += number / 3_989
        clock.told(asked_long_ago, host.server_s())
        assert abs(clock.now_ms() - host.true_ms) <= 1


def test_a_slow_answer_allows_for_the_drift_while_it_was_on_its_way() -> None:
    """What has drifted in the seconds of a slow answer makes it no contradiction to a quick one that came before it."""
    for lost_ms in (-1, 1):
        host = Host(500)
        clock = ServerClock(host)
        asked = clock.ask()
        said_s = host.true_ms / 1000
        host.true_ms += 10_000
        host.wrong_ms += lost_ms
        host.ask(clock)
        clock.told(asked, said_s)
        assert abs(clock.now_ms() - host.true_ms) <= 2
