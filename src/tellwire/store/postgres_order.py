"""Order in PostgreSQL's dialect: see ``order``.

Of several processes that claim at the same time, one gets the head of a sequence, by locking its row; whoever holds
that may take what stands behind it, since nobody else comes past the head.
"""

from collections.abc import Sequence
from itertools import groupby, takewhile
from typing import Final

from sqlalchemy import Connection

from .order import Further, Place, Run, of_one_batch
from .postgres_hot import columns, fetch
from .rows import ClaimedRow, Head

_STANDING: Final = "state = 0 AND sequence IS NOT NULL"


class PostgresOrderStatements:
    """See ``order.OrderStatements``. Call them inside ``run_sync``."""

    def lanes(self, connection: Connection) -> list[bytes]:
        """The endpoints at which pending deliveries stand in sequences."""
        return [row[0] for row in fetch(connection, _LANES)]

    def heads(self, connection: Connection, endpoint_id: bytes, *, after: str, most: int) -> list[Head]:
        """The heads of an endpoint's sequences, by name."""
        return [Head(*row) for row in fetch(connection, _HEADS, endpoint_id, after, most)]

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
        locked = {row[0] for row in fetch(connection, _LOCK, [run.head.id for run in runs], now_ms)}
        mine = [
            (run.head.sequence, run.head.id, run.head.blocker, run.most)
            for run in runs
            if run.head.id in locked
        ]
        claimed = _claimed(connection, endpoint_id, mine, now_ms, until_ms, token)
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
        sequences, last, _ = columns(furthers)
        locked = {row[0] for row in fetch(connection, _LOCK_HELD, endpoint_id, sequences, token)}
        blockers = dict(fetch(connection, _HELD, endpoint_id, sequences, last, token)) if locked else {}
        mine = {
            number: (one.sequence, one.first, blockers[number], one.most)
            for number, one in enumerate(furthers, 1)
            if number in locked and number in blockers
        }
        claimed = _claimed(connection, endpoint_id, list(mine.values()), now_ms, until_ms, token)
        found = dict(zip(mine, claimed, strict=True))
        return [found.get(number, []) for number in range(1, len(furthers) + 1)]

    def last(self, connection: Connection, places: Sequence[Place]) -> list[bytes | None]:
        """For each place the pending delivery that is to come right before it."""
        if not places:
            return []
        return [row[0] for row in fetch(connection, last_statement(), *columns(places))]


_Run = tuple[str, bytes, bytes | None, int]
"""Sequence, first id, what blocks, and how many."""


def _claimed(
    connection: Connection, endpoint_id: bytes, runs: Sequence[_Run], now_ms: int, until_ms: int, token: int
) -> list[list[ClaimedRow]]:
    """Claim these runs, whose heads are locked."""
    if not runs:
        return []
    # A statement of its own, so that it sees all that was done to the sequence until the head was locked.
    found = fetch(connection, _RUN, endpoint_id, *columns(runs))
    claimed: list[list[ClaimedRow]] = [[] for _ in runs]
    for number, rows in groupby(found, key=lambda row: row[0]):
        due = of_one_batch(takewhile(lambda row: row[1] <= now_ms, rows))
        claimed[number - 1] = [ClaimedRow(*row[2:-1]) for row in due]
    ids = [row.id for rows in claimed for row in rows]
    # Those that somebody has just cancelled by hand do not count any more.
    left = {row[0] for row in fetch(connection, _CLAIM, ids, token, until_ms)} if ids else set()
    return [[row for row in rows if row.id in left] for rows in claimed]


def last_statement(schema: str | None = None) -> str:
    """The statement for ``last``; its parameters are a column of ``Place`` each."""
    table = "deliveries" if schema is None else f"{schema}.deliveries"
    return f"""
        SELECT found.id FROM unnest($1::bytea[], $2::text[], $3::bytea[]) WITH ORDINALITY
            AS place(endpoint_id, sequence, before, number)
        LEFT JOIN LATERAL (
            SELECT id FROM {table}
            WHERE {_STANDING} AND endpoint_id = place.endpoint_id AND sequence = place.sequence
                AND id < place.before
            ORDER BY endpoint_id DESC, sequence DESC, id DESC LIMIT 1
        ) AS found ON true
        ORDER BY place.number"""  # noqa: S608 - our own constants, and a quoted schema


_LANES: Final = f"""
    WITH RECURSIVE lane(endpoint_id) AS (
        (SELECT endpoint_id FROM deliveries WHERE {_STANDING} ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT following.endpoint_id FROM lane CROSS JOIN LATERAL (
            SELECT endpoint_id FROM deliveries WHERE {_STANDING} AND endpoint_id > lane.endpoint_id
            ORDER BY endpoint_id LIMIT 1
        ) AS following
    )
    SELECT endpoint_id FROM lane"""  # noqa: S608 - our own constants

# A loose index scan: from each sequence straight to the next, however many deliveries stand in it.
_HEADS: Final = f"""
    WITH RECURSIVE named(sequence, more) AS (
        (SELECT sequence, $3::integer - 1 FROM deliveries
            WHERE {_STANDING} AND endpoint_id = $1 AND sequence > $2 ORDER BY endpoint_id, sequence LIMIT 1)
        UNION ALL
        SELECT following.sequence, named.more - 1 FROM named CROSS JOIN LATERAL (
            SELECT sequence FROM deliveries
            WHERE {_STANDING} AND endpoint_id = $1 AND sequence > named.sequence
            ORDER BY endpoint_id, sequence LIMIT 1
        ) AS following
        WHERE named.more > 0
    )
    SELECT named.sequence, head.id, head.ready_ms, head.attempt_count, blocking.id
    FROM named CROSS JOIN LATERAL (
        SELECT id, coalesce(lease_until_ms, due_ms) AS ready_ms, attempt_count FROM deliveries
        WHERE {_STANDING} AND endpoint_id = $1 AND sequence = named.sequence
        ORDER BY endpoint_id, sequence, id LIMIT 1
    ) AS head LEFT JOIN LATERAL (
        SELECT id FROM deliveries
        WHERE state = 2 AND sequence IS NOT NULL AND endpoint_id = $1 AND sequence = named.sequence
        ORDER BY endpoint_id, sequence, id LIMIT 1
    ) AS blocking ON true"""  # noqa: S608 - our own constants

_LOCK: Final = f"""
    SELECT id FROM deliveries
    WHERE id = ANY ($1::bytea[]) AND {_STANDING} AND coalesce(lease_until_ms, due_ms) <= $2
    FOR UPDATE SKIP LOCKED"""  # noqa: S608 - our own constants

_LOCK_HELD: Final = f"""
    SELECT line.number FROM unnest($2::text[]) WITH ORDINALITY AS line(sequence, number)
    CROSS JOIN LATERAL (
        SELECT id FROM deliveries WHERE {_STANDING} AND endpoint_id = $1 AND sequence = line.sequence
        ORDER BY endpoint_id, sequence, id LIMIT 1
    ) AS head JOIN deliveries AS first ON first.id = head.id AND first.lease_token = $3
    FOR UPDATE OF first SKIP LOCKED"""  # noqa: S608 - our own constants

# What blocks each sequence; only those that one token holds up to the last.
_HELD: Final = f"""
    SELECT line.number, blocking.id
    FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS line(sequence, last, number)
    LEFT JOIN LATERAL (
        SELECT id FROM deliveries
        WHERE state = 2 AND sequence IS NOT NULL AND endpoint_id = $1 AND sequence = line.sequence
        ORDER BY endpoint_id, sequence, id LIMIT 1
    ) AS blocking ON true
    WHERE EXISTS (
        SELECT FROM deliveries
        WHERE {_STANDING} AND endpoint_id = $1 AND sequence = line.sequence AND id = line.last AND lease_token = $4
    ) AND NOT EXISTS (
        SELECT FROM deliveries
        WHERE {_STANDING} AND endpoint_id = $1 AND sequence = line.sequence AND id < line.last
            AND lease_token IS DISTINCT FROM $4
    )"""  # noqa: S608 - our own constants

_RUN: Final = f"""
    SELECT run.number, found.ready_ms, found.id, found.event_id, found.attempt_count, found.schedule_step,
        found.trigger, events.type, events.data, events.occurred_ms, found.due_ms, found.rescued, found.again_ms,
        events.deliver_ms, events.expires_ms, events.traceparent, found.sequence, found.batch_id
    FROM unnest($2::text[], $3::bytea[], $4::bytea[], $5::integer[]) WITH ORDINALITY
        AS run(sequence, head, blocker, most, number)
    CROSS JOIN LATERAL (
        SELECT *, lease_token IS NOT NULL AS rescued, coalesce(lease_until_ms, due_ms) AS ready_ms FROM deliveries
        WHERE {_STANDING} AND endpoint_id = $1 AND sequence = run.sequence AND id >= run.head
            AND (run.blocker IS NULL OR id < run.blocker)
        ORDER BY endpoint_id, sequence, id LIMIT run.most
    ) AS found
    CROSS JOIN LATERAL (SELECT * FROM events WHERE id = found.event_id LIMIT 1) AS events
    ORDER BY run.number, found.id"""  # noqa: S608 - our own constants

_CLAIM: Final = """
    UPDATE deliveries SET lease_token = $2, lease_until_ms = $3
    WHERE id = ANY ($1::bytea[]) AND state = 0 RETURNING id"""
