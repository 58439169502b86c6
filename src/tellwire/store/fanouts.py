"""What is left of the fan-out of wide events: pages of endpoints, made with the event, taken one by one.

A page is taken and its deliveries are stored in one transaction, so a crash loses nothing and repeats nobody.
"""

from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select

from .tables import events, fanout_pages

_ANY_LEFT: Final = select(exists().select_from(fanout_pages))


class TakenPage(NamedTuple):
    """A page that this transaction has taken, with what sending needs of its event."""

    event_id: bytes
    endpoint_ids: list[bytes]
    type: str
    data: bytes
    occurred_ms: int
    deliver_ms: int | None
    expires_ms: int | None
    traceparent: str | None
    ordering_key: str | None


def any_left(connection: Connection) -> bool:
    """Whether anything is still to be fanned out."""
    return bool(connection.execute(_ANY_LEFT).scalar())


def take_page(connection: Connection) -> TakenPage | None:
    """Take a page that nobody else takes at this moment, or give None.

    First come the first pages of all events: no event has to wait for the whole of a wider one.
    """
    page = connection.execute(
        select(fanout_pages)
        .order_by(fanout_pages.c.number, fanout_pages.c.event_id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if page is None:
        return None
    connection.execute(
        delete(fanout_pages).where(
            fanout_pages.c.event_id == page.event_id, fanout_pages.c.number == page.number
        )
    )
    event = connection.execute(
        select(
            events.c.type,
            events.c.data,
            events.c.occurred_ms,
            events.c.deliver_ms,
            events.c.expires_ms,
            events.c.traceparent,
            events.c.ordering_key,
        ).where(events.c.id == page.event_id)
    ).one()
    ids = [page.endpoint_ids[start : start + 16] for start in range(0, len(page.endpoint_ids), 16)]
    return TakenPage(page.event_id, ids, *event)


def count_left(connection: Connection, event_id: bytes | None = None) -> int:
    """How many endpoints an event, or all events together, are still to be fanned out to."""
    query = select(func.coalesce(func.sum(fanout_pages.c.targets), 0))
    if event_id is not None:
        query = query.where(fanout_pages.c.event_id == event_id)
    return int(connection.execute(query).scalar_one())


def left_of_event() -> ColumnElement[int]:
    """The same for the event of a row of ``events``, as a column of a query."""
    left = select(func.coalesce(func.sum(fanout_pages.c.targets), 0))
    return left.where(fanout_pages.c.event_id == events.c.id).scalar_subquery()
