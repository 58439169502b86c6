"""Warnings, and the end of an endpoint that fails for long."""

import pytest

from tellwire.policy.failing import first_warning_ms, is_over, warnings_due

DAY = 86_400_000


@pytest.mark.parametrize(
    ("hours", "due"), [(0, 0), (29, 0), (30, 1), (59, 1), (60, 2), (90, 3), (120, 3), (999, 3)]
)
def test_warnings_come_each_quarter(hours: int, due: int) -> None:
    """Of five days: after thirty hours, sixty and ninety; no more after the end."""
    assert warnings_due(hours * 3_600_000, 5 * DAY) == due


@pytest.mark.parametrize("days", [1, 5, 365])
def test_the_first_warning_and_the_end_are_exact(days: int) -> None:
    """A millisecond earlier, neither is due."""
    most = days * DAY
    first = first_warning_ms(most)
    assert (warnings_due(first - 1, most), warnings_due(first, most)) == (0, 1)
    assert (is_over(most - 1, most), is_over(most, most)) == (False, True)
