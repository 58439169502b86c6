"""Queries on holds: endpoints whose receiver is overloaded and has said until when, which one process was told.

There is a row for each that was held back in the last minutes, and all processes look at them: see ``deliver.holds``.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, text

from .news import note
from .tables import endpoints, holds

_KEPT_MS: Final = 60_000
"""A row stays for so long when its hold is over: that it is gone means that somebody has lifted it."""

_HOLD: Final = text(
    """
    INSERT INTO holds (endpoint_id, until_ms) VALUES (:endpoint_id, :until_ms)
    ON CONFLICT (endpoint_id) DO UPDATE SET until_ms = excluded.until_ms WHERE holds.until_ms < excluded.until_ms"""
).bindparams(
    bindparam("endpoint_id", type_=holds.c.endpoint_id.type),
    bindparam("until_ms", type_=holds.c.until_ms.type),
)
_HELD: Final = (
    select(holds.c.endpoint_id, holds.c.until_ms)
    .outerjoin(endpoints, endpoints.c.id == holds.c.endpoint_id)
    .where(holds.c.until_ms > bindparam("now_ms"), endpoints.c.deleted_ms.is_(None))
)
"""Made once: it is asked in every survey. What was written when its endpoint was deleted already holds nothing back."""


def hold(connection: Connection, until_ms: Mapping[bytes, int], *, now_ms: int) -> None:
    """Hold endpoints back until then, those that are held back for longer as they are; other processes hear of it."""
    connection.execute(delete(holds).where(holds.c.until_ms <= now_ms - _KEPT_MS))
    # In one order, so that two processes never wait for each other.
    connection.execute(_HOLD, [{"endpoint_id": id, "until_ms": until_ms[id]} for id in sorted(until_ms)])
    note(connection)


def held(connection: Connection, now_ms: int) -> dict[bytes, int]:
    """Which endpoints are held back, and until when."""
    rows = connection.execute(_HELD, {"now_ms": now_ms})
    return {row.endpoint_id: row.until_ms for row in rows}


def lift(connection: Connection, endpoint_id: bytes) -> None:
    """Hold an endpoint back no longer; other processes hear of it."""
    connection.execute(delete(holds).where(holds.c.endpoint_id == endpoint_id))
    note(connection)
