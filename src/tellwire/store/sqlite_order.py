"""Order in SQLite's dialect: see ``order``. There is one writer, so what a claim sees holds until it commits."""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import Connection

from .order import Further, Place, Run, of_one_batch
from .rows import ClaimedRow, Head
from .sqlite_hot import chunks, claim_statement, driver_of

_STANDING: Final = "state = 0 AND sequence IS NOT NULL"


class SqliteOrderStatements:
    """See ``order.OrderStatements``."""

    def lanes(self, connection: Connection) -> list[bytes]:
        """The endpoints at which pending deliveries stand in sequences."""
        return [row[0] for row in driver_of(connection).execute(_LANES)]

    def heads(self, connection: Connection, endpoint_id: bytes, *, after: str, most: int) -> list[Head]:
        """The heads of an endpoint's sequences, by name."""
        return [Head(*row) for row in driver_of(connection).execute(_HEADS, (endpoint_id, after, most))]

    def claim(
        self,
        connection: Connection,
        endpoint_id: bytes,
        runs: Sequence[Run],
        *,
        now_ms: int,
        until_ms: int,
        token: int,
    ) -> list[list[ClaimedRow]]:
        """Claim from each head on what may be sent now."""
        driver = driver_of(connection)
        claimed = [
            _due(driver, now_ms, endpoint_id, head.sequence, head.id, head.blocker, most)
            for head, most in runs
        ]
        _lease(driver, claimed, token, until_ms)
        return [rows for rows in claimed if rows]

    def claim_further(
        self,
        connection: Connection,
        endpoint_id: bytes,
        furthers: Sequence[Further],
        *,
        now_ms: int,
        until_ms: int,
        token: int,
    ) -> list[list[ClaimedRow]]:
        """Claim what may be sent after what ``token`` holds."""
        driver = driver_of(connection)
        claimed: list[list[ClaimedRow]] = []
        for one in furthers:
            held = driver.execute(_HELD, (endpoint_id, one.sequence, one.last, token)).fetchone()
            following = (endpoint_id, one.sequence, one.first, held and held[0], one.most)
            claimed.append(_due(driver, now_ms, *following) if held else [])
        _lease(driver, claimed, token, until_ms)
        return claimed

    def last(self, connection: Connection, places: Sequence[Place]) -> list[bytes | None]:
        """For each place the pending delivery that is to come right before it."""
        driver = driver_of(connection)
        return [row[0] for statement in last_statements(places) for row in driver.execute(*statement)]


def _due(driver: sqlite3.Connection, now_ms: int, *run: Any) -> list[ClaimedRow]:
    found = takewhile(lambda row: row[0] <= now_ms, driver.execute(_RUN, run))
    return [ClaimedRow(*row[1:-1]) for row in of_one_batch(found)]


def _lease(
    driver: sqlite3.Connection, claimed: Sequence[Sequence[ClaimedRow]], token: int, until_ms: int
) -> None:
    for chunk in chunks([row.id for rows in claimed for row in rows]):
        driver.execute(claim_statement(len(chunk)), [*chunk, token, until_ms])


def last_statements(places: Sequence[Place]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The statements for ``last``, with their values."""
    for chunk in chunks(places):
        yield _last(len(chunk)), tuple(value for place in chunk for value in place)


@cache
def _last(places: int) -> str:
    values = ",".join(["(?,?,?)"] * places)
    return f"""
        SELECT (
            SELECT id FROM main.deliveries
            WHERE {_STANDING} AND endpoint_id = place.column1 AND sequence = place.column2 AND id < place.column3
            ORDER BY id DESC LIMIT 1
        ) FROM (VALUES {values}) AS place"""  # noqa: S608 - our own constants, and placeholders


_LANES: Final = f"""
    WITH RECURSIVE lane(endpoint_id) AS (
        SELECT min(endpoint_id) FROM deliveries WHERE {_STANDING}
        UNION ALL
        SELECT (SELECT min(endpoint_id) FROM deliveries WHERE {_STANDING} AND endpoint_id > lane.endpoint_id)
        FROM lane WHERE lane.endpoint_id IS NOT NULL
    )
    SELECT endpoint_id FROM lane WHERE endpoint_id IS NOT NULL"""  # noqa: S608 - our own constants

_BLOCKER: Final = """
    SELECT min(id) FROM deliveries
    WHERE state = 2 AND sequence IS NOT NULL AND endpoint_id = ?1 AND sequence ="""

# A loose index scan: from each sequence straight to the next, however many deliveries stand in it.
_HEADS: Final = f"""
    WITH RECURSIVE named(sequence, more) AS (
        SELECT min(sequence), ?3 - 1 FROM deliveries WHERE {_STANDING} AND endpoint_id = ?1 AND sequence > ?2
        UNION ALL
        SELECT (
            SELECT min(sequence) FROM deliveries
            WHERE {_STANDING} AND endpoint_id = ?1 AND sequence > named.sequence
        ), more - 1
        FROM named WHERE named.sequence IS NOT NULL AND more > 0
    )
    SELECT named.sequence, head.id, coalesce(head.lease_until_ms, head.due_ms), head.attempt_count,
        ({_BLOCKER} named.sequence)
    FROM named CROSS JOIN deliveries AS head ON head.id = (
        SELECT min(id) FROM deliveries WHERE {_STANDING} AND endpoint_id = ?1 AND sequence = named.sequence
    )
    WHERE named.sequence IS NOT NULL"""  # noqa: S608 - our own constants

# What blocks the sequence, in a row that is only there if one token holds it up to the last.
_HELD: Final = f"""
    SELECT ({_BLOCKER} ?2) WHERE EXISTS (
        SELECT 1 FROM deliveries
        WHERE {_STANDING} AND endpoint_id = ?1 AND sequence = ?2 AND id = ?3 AND lease_token = ?4
    ) AND NOT EXISTS (
        SELECT 1 FROM deliveries
        WHERE {_STANDING} AND endpoint_id = ?1 AND sequence = ?2 AND id < ?3 AND lease_token IS NOT ?4
    )"""  # noqa: S608 - our own constants

_RUN: Final = """
    SELECT coalesce(d.lease_until_ms, d.due_ms),
        d.id, d.event_id, d.attempt_count, d.schedule_step, d.trigger,
        e.type, e.data, e.occurred_ms, d.due_ms, d.lease_token IS NOT NULL, d.again_ms,
        e.deliver_ms, e.expires_ms, e.traceparent, d.sequence, d.batch_id
    FROM deliveries AS d CROSS JOIN events AS e ON e.id = d.event_id
    WHERE d.state = 0 AND d.sequence IS NOT NULL AND d.endpoint_id = ?1 AND d.sequence = ?2 AND d.id >= ?3
        AND (?4 IS NULL OR d.id < ?4)
    ORDER BY d.id LIMIT ?5"""
