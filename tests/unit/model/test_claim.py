"""From when on the age of what was claimed counts."""

import pytest

from tellwire.ids import IdMaker
from tellwire.model.claim import Claim

PUBLISHED = 1_700_000_000_000


def claim(*, deliver_ms: int = 0, again_ms: int = 0, fanned_out_ms: int = 0) -> Claim:
    """A claim of an event that was published then; its delivery was made later where it is said."""
    event_id = IdMaker(lambda: PUBLISHED)()
    delivery_id = IdMaker(lambda: PUBLISHED + fanned_out_ms)()
    return Claim(
        delivery_id,
        event_id,
        b"e" * 16,
        "evt",
        "order.paid",
        b"",
        1,
        0,
        deliver_ms=deliver_ms,
        again_ms=again_ms,
    )


@pytest.mark.parametrize(
    ("claimed", "event_ms", "since_ms"),
    [
        (claim(), 0, 0),
        (claim(deliver_ms=PUBLISHED + 60_000), 60_000, 60_000),
        (claim(deliver_ms=PUBLISHED - 60_000), 0, 0),
        (claim(fanned_out_ms=5_000), 0, 5_000),
        (claim(again_ms=PUBLISHED + 90_000), 0, 90_000),
        (claim(deliver_ms=PUBLISHED + 60_000, again_ms=PUBLISHED + 90_000), 60_000, 90_000),
    ],
    ids=["at once", "later", "in the past", "in the background", "again", "later, and again"],
)
def test_age_counts_from_when_it_could_be_delivered(claimed: Claim, event_ms: int, since_ms: int) -> None:
    """An event is as old as its publishing, or as the instant before which it was not to go; a schedule begins with
    the first attempt that could be made, and anew where somebody retries or replays it.
    """
    assert claimed.event_ms == PUBLISHED + event_ms
    assert claimed.since_ms == PUBLISHED + since_ms
