"""What a page of a replay is to send: events looked at one after the other, each asked whether it fits.

Part of the replayer's transaction (``replayer``); changes nothing, so a dry run asks the same.
"""

from typing import Final, NamedTuple

from sqlalchemy import Connection

from tellwire.ids import time_ms
from tellwire.model.replay import Again
from tellwire.policy.filtering import any_matches, event_of
from tellwire.policy.matching import compile_patterns
from tellwire.store import replay_pages
from tellwire.store.replay_pages import Counts, SeenEvent, TakenReplay
from tellwire.store.roster import LiveEndpoint
from tellwire.store.tables import NO_DATA

_FILTERED: Final = 32
"""So many events are asked by filters in one page: each has to be read and parsed."""


class Pick(NamedTuple):
    """An event to send: again by the delivery that it has, or by a new one."""

    event_id: bytes
    delivery_id: bytes | None
    attempt_count: int
    not_before_ms: int = 0


class Chosen(NamedTuple):
    """What a page is to do. ``seen`` tells whether it came further, ``full`` whether it ended for want of room."""

    picks: list[Pick]
    counts: Counts
    up_to: bytes
    seen: bool
    full: bool
    ended: bool


def choose(
    connection: Connection,
    replay: TakenReplay,
    endpoint: LiveEndpoint,
    looks: int,
    room: int,
    oldest_ms: int,
    now_ms: int,
) -> Chosen:
    """Look at up to ``looks`` events after those that the replay has looked at, and pick up to ``room`` that fit.

    Those published before ``oldest_ms``, those whose data has expired, and those that have expired themselves by
    ``now_ms``, are only counted.
    """
    rows, last = replay_pages.look(connection, replay, looks)
    fits = _Fits(connection, replay, endpoint, rows)
    picks: list[Pick] = []
    up_to, looked_at, expired, at = replay.up_to, 0, 0, 0
    for at, event in enumerate(rows, 1):
        if len(picks) == room or fits.asked_filters == _FILTERED:
            at -= 1
            break
        up_to = event.event_id
        if event.tenant != replay.tenant:
            continue
        looked_at += 1
        if not fits(event):
            continue
        if time_ms(event.event_id) < oldest_ms:
            expired += 1
            continue
        picks.append(Pick(event.event_id, event.delivery_id, event.attempt_count))
    full = len(picks) == room
    kept = replay_pages.keep(connection, [pick.event_id for pick in picks], now_ms)
    expired += len(picks)
    picks = [pick._replace(not_before_ms=kept[pick.event_id]) for pick in picks if pick.event_id in kept]
    expired -= len(picks)
    if replay.criteria.event is not None and not rows and last:
        expired += 1  # it was pruned after the replay was started
    created = sum(pick.delivery_id is None for pick in picks)
    counts = Counts(looked_at, len(picks) - created, created, expired)
    return Chosen(picks, counts, up_to, at > 0, full, last and at == len(rows))


class _Fits:
    """Whether an event is one that the replay asks for; counts how many it had to ask filters about."""

    def __init__(
        self, connection: Connection, replay: TakenReplay, endpoint: LiveEndpoint, rows: list[SeenEvent]
    ) -> None:
        criteria = replay.criteria
        self._connection = connection
        self._replay = replay
        self._endpoint = endpoint
        self._types = compile_patterns(criteria.types or ("*",))
        self._states = {one.state for one in criteria.states if one is not Again.MISSING}
        self._alone = criteria.event is not None
        self._examples: set[bytes] = set()
        self.asked_filters = 0
        if replay.asks_missing and not self._alone:
            missing = [row.event_id for row in rows if row.tenant == replay.tenant and self._may_miss(row)]
            self._examples = replay_pages.examples_among(connection, missing)

    def __call__(self, event: SeenEvent) -> bool:
        if event.delivery_id is not None:
            return event.state in self._states and self._types.matches(event.type)
        if not self._replay.asks_missing:
            return False
        if self._alone:
            return True
        return self._may_miss(event) and event.event_id not in self._examples and self._passes(event)

    def _may_miss(self, event: SeenEvent) -> bool:
        """Whether the event has no delivery to the endpoint, and is of a type that it is subscribed to now."""
        return (
            event.delivery_id is None
            and self._types.matches(event.type)
            and self._endpoint.wants.filters_for(event.type) is not None
        )

    def _passes(self, event: SeenEvent) -> bool:
        """Whether the endpoint's filters let the event pass."""
        filters = self._endpoint.wants.filters_for(event.type)
        if not filters:
            return True
        self.asked_filters += 1
        content = replay_pages.contents(self._connection, [event.event_id])[event.event_id]
        if content.data == NO_DATA:
            return True  # nobody can say any more; it is counted as expired
        return any_matches(filters, event_of(event.type, event.tenant, content.data, filters))
