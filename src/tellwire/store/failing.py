"""Queries on endpoints that fail: at which every attempt has failed since some time.

A row comes with the first failure that is noted and goes with the next success, and whenever people switch the endpoint
or change its URL: then they get all the time there is once more.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tellwire.model.endpoint import EndpointState

from .tables import endpoints, failing

_AT_A_TIME = 500


class Failing(NamedTuple):
    """An enabled endpoint that fails: since when, until when at least, and how many warnings were told."""

    endpoint_id: bytes
    since_ms: int
    last_ms: int
    warnings: int


def note(
    connection: Connection, succeeded: Collection[bytes], failed: Mapping[bytes, tuple[int, int]]
) -> list[tuple[bytes, int]]:
    """Note at which endpoints attempts have succeeded, and then failed: the first time and the last.

    Gives those that had been warned of and have succeeded, with the time since which they had failed.
    """
    ids = sorted(succeeded)
    warned: list[tuple[bytes, int]] = []
    for start in range(0, len(ids), _AT_A_TIME):
        some = ids[start : start + _AT_A_TIME]
        gone = delete(failing).where(failing.c.endpoint_id.in_(some))
        rows = connection.execute(
            gone.returning(failing.c.endpoint_id, failing.c.since_ms, failing.c.warnings)
        )
        warned += [(row.endpoint_id, row.since_ms) for row in rows if row.warnings]
    if failed:
        upsert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        statement = upsert(failing)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["endpoint_id"], set_={"last_ms": statement.excluded.last_ms}
            ),
            [
                {"endpoint_id": id, "since_ms": since_ms, "last_ms": last_ms}
                for id, (since_ms, last_ms) in sorted(failed.items())
            ],
        )
    return warned


def long_failing(connection: Connection, for_ms: int) -> list[Failing]:
    """The enabled endpoints whose failures lie so far apart at least."""
    rows = connection.execute(
        select(failing)
        .join(endpoints, endpoints.c.id == failing.c.endpoint_id)
        .where(failing.c.last_ms - failing.c.since_ms >= for_ms)
        .where(endpoints.c.state == EndpointState.ENABLED, endpoints.c.deleted_ms.is_(None))
        .order_by(failing.c.endpoint_id)
    )
    return [Failing(*row) for row in rows]


def still_fails(connection: Connection, endpoint_id: bytes, since_ms: int) -> bool:
    """Whether an enabled endpoint has failed since then, up to this moment.

    Its row is locked first, as by every change of it, so that none comes in between.
    """
    is_on = select(endpoints.c.id).where(
        endpoints.c.id == endpoint_id,
        endpoints.c.state == EndpointState.ENABLED,
        endpoints.c.deleted_ms.is_(None),
    )
    if connection.execute(is_on.with_for_update()).first() is None:
        return False
    since = select(failing.c.since_ms).where(failing.c.endpoint_id == endpoint_id)
    return connection.execute(since).scalar_one_or_none() == since_ms


def note_warning(connection: Connection, endpoint_id: bytes, warnings: int) -> bool:
    """Note that so many warnings were told; false where another process has told this one."""
    noted = connection.execute(
        update(failing)
        .where(failing.c.endpoint_id == endpoint_id, failing.c.warnings < warnings)
        .values(warnings=warnings)
    )
    return bool(noted.rowcount)


def forget(connection: Connection, endpoint_ids: Collection[bytes]) -> None:
    """Begin anew with these endpoints."""
    connection.execute(delete(failing).where(failing.c.endpoint_id.in_(endpoint_ids)))
