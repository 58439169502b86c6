"""A change of order where much waits: what is pending takes its place in the new order page after page.

Where little waits, it does so in the transaction of the change (``change``). Else that leaves a mark, and
``deliver.rearranger`` does the rest in short transactions, each of which says in the mark how far it has come:
whatever dies in between, another goes on. It goes by the ids of deliveries, which never change; what is published
after the change stands where it belongs from the beginning, behind what was there (``behind``).

Until all is in its place, the endpoint's lane rests (``LiveEndpoint.rearranging``): nothing of it is claimed, so that
nothing comes too early. Only where there is to be no order any more it goes on.

Locks are taken in one order: the control plane's revision, the endpoint, the mark, deliveries. A page waits for no
delivery that somebody else holds at this moment: it ends before it.
"""

from typing import Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    union_all,
    update,
)

from tellwire.model.order import WHOLE

from .order import CLOCKS_APART_MS, rearrange, sequence_now, unblock
from .paging import first_id_of
from .roster import raise_revision
from .tables import deliveries, endpoints, rearrangements, still_pending

AT_ONCE: Final = 1_000
"""So many deliveries take their places in the transaction of a change; beyond, in pages of so many at most."""

_FIRST: Final = bytes(16)
_PENDING: Final = 0
_MARKS: Final = select(rearrangements.c.endpoint_id, rearrangements.c.up_to, rearrangements.c.moved)
_BLOCKS: Final = "deliveries.state = 2 AND deliveries.sequence IS NOT NULL"
"""Literally: the condition of an index."""


class Mark(NamedTuple):
    """How far a rearrangement has come: ``up_to`` is None before its first page."""

    endpoint_id: bytes
    up_to: bytes | None
    moved: int


class Moved(NamedTuple):
    """What a page has come to: how far it went, how many it gave another place, and whether nothing comes after it."""

    up_to: bytes
    moved: int
    ended: bool


def change(
    connection: Connection,
    endpoint_id: bytes,
    order: str,
    *,
    changed: bool,
    now_ms: int,
    at_once: int = AT_ONCE,
) -> bool:
    """Have what is pending stand in the sequences of ``order``, unless only ``on_exhausted`` has changed; what blocks
    steps aside.

    Gives whether more than ``at_once`` deliveries wait, so that it goes on in pages. One that is under way begins anew.
    """
    begun = select(rearrangements.c.endpoint_id).where(rearrangements.c.endpoint_id == endpoint_id)
    if connection.execute(begun.with_for_update()).first() is None:
        conditions = [*(still_pending(connection) if changed else ()), _BLOCKS]
        if sum(_count(connection, endpoint_id, one, at_once + 1) for one in conditions) <= at_once:
            if changed:
                rearrange(connection, endpoint_id, order)
            unblock(connection, endpoint_id)
            return False
    forget(connection, endpoint_id)
    before = deliveries.c.id < first_id_of(now_ms + CLOCKS_APART_MS)
    # Not max(): PostgreSQL has it for bytes since 18 only, and so it is with min() below.
    last = (
        select(deliveries.c.id)
        .where(deliveries.c.endpoint_id == endpoint_id, before)
        .order_by(deliveries.c.endpoint_id.desc(), deliveries.c.id.desc())
        .limit(1)
    )
    connection.execute(
        insert(rearrangements).values(
            endpoint_id=endpoint_id,
            holds=int(order != "none"),
            behind=connection.execute(last).scalar() or _FIRST,
        )
    )
    return True


def forget(connection: Connection, endpoint_id: bytes) -> None:
    """Nothing is to be rearranged there any more."""
    connection.execute(delete(rearrangements).where(rearrangements.c.endpoint_id == endpoint_id))


def under_way(connection: Connection) -> list[Mark]:
    """All rearrangements."""
    return [Mark(*row) for row in connection.execute(_MARKS)]


def first(connection: Connection, endpoint_id: bytes) -> bytes:
    """Behind which delivery a rearrangement begins. It goes through an index of all that waits: not while writing."""
    # Not simply the least id: for that, the database might go through all that has ended.
    id = func.coalesce(deliveries.c.id, deliveries.c.id)
    firsts = [
        select(id.label("id"))
        .where(deliveries.c.endpoint_id == endpoint_id, text(condition))
        .order_by(id)
        .limit(1)
        .subquery()
        for condition in (*still_pending(connection), _BLOCKS)
    ]
    found = connection.execute(union_all(*(select(one.c.id) for one in firsts))).scalars().all()
    return _before(min(found)) if found else _FIRST


def take(connection: Connection, endpoint_id: bytes) -> Mark | None:
    """Hold a rearrangement until the end of this transaction; None where it has ended or another holds it."""
    row = connection.execute(
        _MARKS.where(rearrangements.c.endpoint_id == endpoint_id).with_for_update(skip_locked=True)
    ).first()
    return None if row is None else Mark(*row)


def move_page(connection: Connection, mark: Mark, order: str | None, *, after: bytes, most: int) -> Moved:
    """Have those of the next ``most`` deliveries after ``after`` that wait take their places in ``order``, and note
    how far that is. What somebody else holds at this moment comes with the next page, and what is behind it."""
    # The endpoint's first, so that it is its index that is gone through.
    page = select(deliveries.c.id).where(
        deliveries.c.endpoint_id == mark.endpoint_id, deliveries.c.id > after
    )
    some = page.order_by(deliveries.c.endpoint_id, deliveries.c.id).limit(most).subquery()
    ends = select(some.c.id, func.count().over()).order_by(some.c.id.desc()).limit(1)
    last, seen = connection.execute(ends).first() or (after, 0)
    up_to, moved, left = last, 0, None
    if seen:
        wrong = page.where(deliveries.c.id <= last, _is_wrong(order))
        free = wrong.with_for_update(skip_locked=True, of=deliveries)
        place = case((deliveries.c.state == _PENDING, sequence_now(order)), else_=None)
        moved = connection.execute(
            update(deliveries).where(deliveries.c.id.in_(free)).values(sequence=place)
        ).rowcount
        following = wrong.order_by(deliveries.c.endpoint_id, deliveries.c.id).limit(1)
        left = connection.execute(following).scalar()
    if left is not None:
        up_to = _before(left)
    connection.execute(
        update(rearrangements)
        .where(rearrangements.c.endpoint_id == mark.endpoint_id)
        .values(up_to=up_to, moved=rearrangements.c.moved + moved)
    )
    return Moved(up_to, moved, left is None and seen < most)


def finish(connection: Connection, endpoint_id: bytes, up_to: bytes) -> bool:
    """End a rearrangement that has come as far as ``up_to``, unless the order has changed again since; then False."""
    revision = raise_revision(connection)
    connection.execute(update(endpoints).where(endpoints.c.id == endpoint_id).values(revision=revision))
    ended = connection.execute(
        delete(rearrangements).where(
            rearrangements.c.endpoint_id == endpoint_id, rearrangements.c.up_to == up_to
        )
    )
    return bool(ended.rowcount)


def _count(connection: Connection, endpoint_id: bytes, condition: str, most: int) -> int:
    some = select(literal(1)).where(deliveries.c.endpoint_id == endpoint_id, text(condition)).limit(most)
    return int(connection.execute(select(func.count()).select_from(some.subquery())).scalar_one())


def _is_wrong(order: str | None) -> ColumnElement[bool]:
    """Whether a delivery is not where it is to be: it waits in another sequence, or blocks one."""
    pending = deliveries.c.state == _PENDING
    if order == "endpoint":
        elsewhere = deliveries.c.sequence.is_distinct_from(WHOLE)
    elif order == "key":
        elsewhere = deliveries.c.sequence.is_distinct_from(sequence_now(order))
    else:
        elsewhere = deliveries.c.sequence.is_not(None)
    return or_(and_(pending, elsewhere), text(f"({_BLOCKS})"))


def _before(id: bytes) -> bytes:
    return (int.from_bytes(id, "big") - 1).to_bytes(16, "big")
