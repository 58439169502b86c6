"""Queries on the answers that are kept for idempotency keys, so that a request that comes twice is done once.

A row is there from the moment that a request with a key begins; the answer comes into it when it is done. Whoever
writes it names when its own request began: one that comes late, after its key was taken over, writes nothing.
"""

from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from .tables import kept_answers


class KeptAnswer(msgspec.Struct, frozen=True):
    """What is known of a key: ``status`` and ``sealed`` are None until its first request is done.

    Where nobody knows what came of that, ``status`` is ``IN_DOUBT``.
    """

    fingerprint: bytes
    started_ms: int
    status: int | None
    sealed: bytes | None


SEALED_FOR: Final = b"answers"
"""What the key follows from that seals answers."""
KEPT_MS: Final = 86_400_000
"""How long an answer is kept."""
LEASE_MS: Final = 60_000
"""How long a request without an answer holds its key; no request takes as long, so its process has died."""
IN_DOUBT: Final = 0
"""The status of a request that may have been done: its key stays taken as long as an answer would."""


def begin(connection: Connection, id: bytes, fingerprint: bytes, *, now_ms: int) -> KeptAnswer | None:
    """Take a key for a request, or take it over where the same request died. Else what is known of an earlier one."""
    died = and_(
        kept_answers.c.status.is_(None),
        kept_answers.c.started_ms <= now_ms - LEASE_MS,
        kept_answers.c.fingerprint == fingerprint,
    )
    ended = or_(kept_answers.c.started_ms <= now_ms - KEPT_MS, died)
    connection.execute(delete(kept_answers).where(kept_answers.c.id == id, ended))
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    taken = connection.execute(
        insert(kept_answers)
        .values(id=id, fingerprint=fingerprint, started_ms=now_ms)
        .on_conflict_do_nothing()
    )
    if taken.rowcount:
        return None
    row = connection.execute(select(kept_answers).where(kept_answers.c.id == id)).mappings().first()
    if row is None:  # given back at this very moment: whoever asks may ask again
        return KeptAnswer(fingerprint, now_ms, None, None)
    return KeptAnswer(row["fingerprint"], row["started_ms"], row["status"], row["sealed"])


def finish(connection: Connection, id: bytes, started_ms: int, status: int, sealed: bytes | None) -> None:
    """Keep the answer to the request that began at ``started_ms``; or that it is in doubt."""
    connection.execute(
        update(kept_answers).where(_under_way(id, started_ms)).values(status=status, sealed=sealed)
    )


def release(connection: Connection, id: bytes, started_ms: int) -> None:
    """Give a key back: its request, which began at ``started_ms``, has changed nothing."""
    connection.execute(delete(kept_answers).where(_under_way(id, started_ms)))


def _under_way(id: bytes, started_ms: int) -> ColumnElement[bool]:
    columns = kept_answers.c
    return and_(columns.id == id, columns.started_ms == started_ms, columns.status.is_(None))


def forget_answers(connection: Connection, *, before_ms: int, limit: int) -> int:
    """Remove up to ``limit`` of those that began before ``before_ms``; gives how many were removed."""
    old = select(kept_answers.c.id).where(kept_answers.c.started_ms < before_ms).limit(limit)
    return connection.execute(delete(kept_answers).where(kept_answers.c.id.in_(old))).rowcount
