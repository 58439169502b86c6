"""Queries on the answers that are kept for idempotency keys, so that a request that comes twice is done once.

A row is there from the moment that a request with a key begins; the answer comes into it when it is done.
"""

from typing import Final

import msgspec
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from .tables import kept_answers


class KeptAnswer(msgspec.Struct, frozen=True):
    """What is known of a key: ``status`` and ``sealed`` are None until its first request is done."""

    fingerprint: bytes
    started_ms: int
    status: int | None
    sealed: bytes | None


KEPT_MS: Final = 86_400_000
"""How long an answer is kept."""


def begin(connection: Connection, id: bytes, fingerprint: bytes, *, now_ms: int) -> KeptAnswer | None:
    """Take a key for a request. None: it is taken; else what is known of it from an earlier one."""
    connection.execute(
        delete(kept_answers).where(kept_answers.c.id == id, kept_answers.c.started_ms <= now_ms - KEPT_MS)
    )
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


def finish(connection: Connection, id: bytes, status: int, sealed: bytes) -> None:
    """Keep the answer."""
    connection.execute(
        update(kept_answers).where(kept_answers.c.id == id).values(status=status, sealed=sealed)
    )


def release(connection: Connection, id: bytes) -> None:
    """Give a key back: its request has changed nothing."""
    connection.execute(delete(kept_answers).where(kept_answers.c.id == id, kept_answers.c.status.is_(None)))


def forget_answers(connection: Connection, *, before_ms: int, limit: int) -> int:
    """Remove up to ``limit`` of those that began before ``before_ms``; gives how many were removed."""
    old = select(kept_answers.c.id).where(kept_answers.c.started_ms < before_ms).limit(limit)
    return connection.execute(delete(kept_answers).where(kept_answers.c.id.in_(old))).rowcount
