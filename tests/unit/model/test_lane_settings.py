"""Limits of an endpoint, as numbers: how many requests at once, and how many in how long."""

import pytest

from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.model.lane_settings import RateLimit


@pytest.mark.parametrize(
    ("limit", "at_once", "in_ten_s"),
    [
        (RateLimit(50), 5, 500),  # what fits into a tenth of a second
        (RateLimit(9), 1, 90),
        (RateLimit(120, "minute"), 1, 20),
        (RateLimit(6_000, "minute"), 10, 1_000),
        (RateLimit(50, burst=20), 20, 500),
        (RateLimit(50, burst=1), 1, 500),
    ],
)
def test_how_many_requests_come_at_once_and_in_how_long(
    limit: RateLimit, at_once: int, in_ten_s: int
) -> None:
    """A tenth of a second's worth if no burst is given, at least one."""
    assert limit.at_once == at_once
    assert limit.per_ms * 10_000 == pytest.approx(in_ten_s)


@pytest.mark.parametrize(
    ("settings", "exclusive"),
    [
        ({}, False),
        ({"max_in_flight": 5}, True),
        ({"rate_limit": RateLimit(5)}, True),
        ({"order": "key", "trace": True}, False),
    ],
)
def test_what_holds_across_processes_is_seen_to_by_one(settings: dict[str, object], exclusive: bool) -> None:
    """Only for such settings one process owns the lane; else each sends."""
    assert EndpointSettings(**settings).exclusive == exclusive  # type: ignore[arg-type]  # as in the table
