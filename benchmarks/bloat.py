"""How large the tables of PostgreSQL get, and how much of that is waste, while events come and go for days on end.

    python -m benchmarks.bloat --deliveries 5000000 --days 10 --keep 3

Days pass as fast as the store's own statements allow: publish, record, retry (a part fails once), prune. Autovacuum
runs as in real life, but looks ten times as often, since time runs much faster. In the end the table of deliveries is
written anew (``VACUUM FULL``): what that saves is the bloat.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection

from tellwire.clock import to_datetime
from tellwire.ids import ENDPOINT, IdMaker, encode
from tellwire.model.endpoint import Endpoint, EndpointState
from tellwire.model.subscription import Subscription
from tellwire.signing.vault import Vault
from tellwire.store import endpoints
from tellwire.store.postgres import PostgresStore
from tellwire.store.postgres_days import BY_DAY, DAY_MS, days_of, drop_before, make_day
from tellwire.store.rows import AttemptRow, DeliveryRow, EventRow, Outcome

from .postgres import PostgresServer

BATCH: Final = 500
LANES: Final = 50
FAILS: Final = 0.05
DATA: Final = b'{"filler":"' + b"x" * 242 + b'"}'
HEADERS: Final = b'[["content-type","text/plain"],["content-length","2"]]'


class Life:
    """Days of one database; time is what ``now_ms`` says."""

    def __init__(self, store: PostgresStore, connection: "asyncpg.Connection[Any]", first_ms: int) -> None:
        self._store = store
        self._connection = connection
        self._random = random.Random(1)
        self.now_ms = first_ms
        self._new_id = IdMaker(lambda: self.now_ms, self._random)
        self._lanes: list[bytes] = []

    async def begin(self) -> None:
        """Make endpoints."""
        vault = Vault(bytes(32))
        for _ in range(LANES):
            id, at = self._new_id(), to_datetime(self.now_ms)
            endpoint = Endpoint(
                encode(ENDPOINT, id), "default", "https://receiver.example/", "", (Subscription(("*",)),), {}, {},
                EndpointState.ENABLED, None, at, at,
            )  # fmt: skip

            def create(connection: Connection, endpoint: Endpoint = endpoint) -> None:
                endpoints.create(connection, vault, endpoint)

            await self._store.write(create)
            self._lanes.append(id)

    async def day(self, deliveries: int) -> None:
        """Publish and deliver so many in a day."""
        from_ms = self.now_ms
        async with self._connection.transaction():
            for table in BY_DAY:
                await make_day(self._connection, table, from_ms, from_ms + DAY_MS)
        for start in range(0, deliveries, BATCH):
            self.now_ms = from_ms + start * DAY_MS // deliveries
            await self._store.write(self._publish)
        self.now_ms = from_ms + DAY_MS

    def _publish(self, connection: Connection) -> None:
        """Three transactions of the engine in one: publish, record, and retry what has failed before."""
        hot, now_ms, token = self._store.hot, self.now_ms, 7
        events: list[EventRow] = []
        deliveries: list[DeliveryRow] = []
        for _ in range(BATCH):
            event_id = self._new_id()
            events.append(EventRow(event_id, "default", "order.paid", DATA, now_ms, now_ms, 1, None, None))
            lane = self._random.choice(self._lanes)
            deliveries.append(
                DeliveryRow(
                    self._new_id(), event_id, lane, "schedule", now_ms, token, now_ms + 60_000, now_ms
                )
            )
        hot.insert_events(connection, events)
        hot.insert_deliveries(connection, deliveries)
        self._record(connection, [(row.id, token, 0) for row in deliveries], fails=FAILS)
        due = hot.claim(
            connection,
            self._random.choice(self._lanes),
            now_ms=now_ms,
            until_ms=now_ms + 60_000,
            token=token,
            limit=BATCH,
        )
        self._record(connection, [(row.id, token, row.attempt_count) for row in due], fails=0.0)

    def _record(self, connection: Connection, held: list[tuple[bytes, int, int]], *, fails: float) -> None:
        now_ms = self.now_ms
        outcomes: list[Outcome] = []
        attempts: list[AttemptRow] = []
        for id, token, made in held:
            failed = self._random.random() < fails
            code = 503 if failed else 200
            due_ms = now_ms + 300_000 if failed else None
            outcomes.append(
                Outcome(
                    id,
                    token,
                    int(not failed),
                    made + 1,
                    made + 1,
                    due_ms,
                    code,
                    None,
                    None if failed else now_ms,
                )
            )
            attempts.append(
                AttemptRow(
                    id, made + 1, self._new_id(), now_ms, 9, code, None, None, HEADERS, b"ok", "schedule"
                )
            )
        self._store.hot.record(connection, outcomes, attempts)


async def sizes(connection: "asyncpg.Connection[Any]") -> dict[str, int]:
    """Bytes of the table of deliveries, of each of its indexes, and of all days together."""
    rows = await connection.fetch(
        "SELECT c.relname, pg_relation_size(c.oid) FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid "
        "WHERE c.relname = 'deliveries' OR i.indrelid = 'deliveries'::regclass ORDER BY c.relkind DESC, c.relname"
    )
    found = {str(name): int(size) for name, size in rows}
    for table in BY_DAY:
        found[f"{table} (all days)"] = await connection.fetchval(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = $1::text::regclass",
            table,
        )
    return found


def shown(label: str, found: dict[str, int]) -> Iterator[str]:
    """A row of the report."""
    yield label
    for size in found.values():
        yield f"{size / 2**20:.0f}"


async def live(server: PostgresServer, asked: argparse.Namespace) -> None:
    """Live the days, tell the sizes after each, and what writing all anew saves."""
    url = server.url_of("postgres")
    store = PostgresStore(url, Vault(bytes(32)))
    await store.open()
    connection = await asyncpg.connect(url)
    for setting in asked.set:
        await connection.execute(f"ALTER TABLE deliveries SET ({setting})")
    first_ms = max(day.until_ms for day in await days_of(connection, "events"))
    life = Life(store, connection, first_ms)
    await life.begin()
    print("| after day | " + " | ".join(f"{name}, MiB" for name in await sizes(connection)) + " |")
    started = time.monotonic()
    for day in range(asked.days):
        await life.day(asked.deliveries // asked.days)
        if day >= asked.keep:
            await drop_before(connection, first_ms + (day + 1 - asked.keep) * DAY_MS)
        print("| " + " | ".join(shown(str(day + 1), await sizes(connection))) + " |", flush=True)
    took_s = time.monotonic() - started
    await connection.execute("VACUUM FULL deliveries")
    print("| " + " | ".join(shown("written anew", await sizes(connection))) + " |")
    updates = await connection.fetchrow(
        "SELECT n_tup_upd, n_tup_hot_upd, autovacuum_count FROM pg_stat_user_tables WHERE relname = 'deliveries'"
    )
    print(
        f"{asked.deliveries / took_s:.0f} deliveries a second; updates, of them HOT, autovacuums: {tuple(updates)}"
    )
    await connection.close()
    await store.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="how large PostgreSQL's tables get")
    parser.add_argument("--deliveries", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--keep", type=int, default=3, help="days of history")
    parser.add_argument("--naptime", type=int, default=6, help="seconds between looks of autovacuum")
    parser.add_argument("--set", action="append", default=[], help="a storage parameter of deliveries")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tellwire-bloat-") as folder:
        server = PostgresServer(Path(folder))
        server.execute("postgres", f"ALTER SYSTEM SET autovacuum_naptime = '{asked.naptime}s'")
        server.execute("postgres", "SELECT pg_reload_conf()")
        try:
            asyncio.run(live(server, asked))
        finally:
            server.close()


if __name__ == "__main__":
    main()
