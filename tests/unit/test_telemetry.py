"""Facts reach every subscriber, whatever another subscriber does."""

import logging

import pytest

from tellwire.telemetry import EventsPruned, Fact, Telemetry


def test_a_subscriber_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The stage goes on, the other subscribers hear the fact, and the failure is logged."""
    telemetry = Telemetry()
    heard: list[Fact] = []

    def fail(_: Fact) -> None:
        raise RuntimeError("a fault of the subscriber")

    telemetry.subscribe(fail)
    telemetry.subscribe(heard.append)
    with caplog.at_level(logging.ERROR):
        telemetry.emit(EventsPruned(3))
    assert heard == [EventsPruned(3)]
    assert "EventsPruned" in caplog.text
