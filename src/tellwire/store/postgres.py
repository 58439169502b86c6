"""The store on PostgreSQL: many processes, one database; each writes in group commits of its own, on two connections.

One is for what is published, the other for all else, so that publishers do not wait for results and claims
(docs/adr/0016-what-nobody-waits-for-takes-short-turns.md).

Transactions are read committed. A change of the control plane holds the row of the revision counter until it commits,
so that revisions become visible in their order; two processes that publish under one idempotency key meet at its
unique index, and the later one runs again and finds the event of the first.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Final, TypeVar, cast

import asyncpg
from sqlalchemy import Connection, text
from sqlalchemy.util import await_only

from tellwire.errors import ClosedError, TellwireError
from tellwire.signing.vault import Vault
from tellwire.telemetry import Telemetry

from .group_commit import BatchedWrite, BlockedError, Done, GroupCommit, Run, Weigh, Work, one, settle
from .key_check import check_key
from .migrations.migrate import migrate, stored_version
from .news import noted
from .postgres_at_once import AtOnce, Chances, TooMuchError, gatherer_of
from .postgres_clock import ServerClock
from .postgres_connections import READ_WITHIN_S, WRITE_WITHIN_S, connect, drop, name_of, pool_of, use_of
from .postgres_days import DAY_MS, drop_before, make_ahead
from .postgres_faults import collided, in_doubt, lost, translated
from .postgres_hot import PostgresHotStatements, driver_of
from .postgres_news import CHANNEL, News
from .postgres_order import PostgresOrderStatements
from .postgres_rollups import PostgresRollupStatements
from .postgres_within import PostgresWithin
from .postgres_writer import Writer
from .probe import PUBLISHING, write_something
from .roster import Roster, refresh
from .rows import PoolUse

T = TypeVar("T")

_READERS: Final = 5
_TRIES: Final = 5
_MIGRATION_LOCK: Final = 0x7E11_0001
_AT_ONCE: Final = {"publish", "record"}
"""The stages that mostly read nothing before they write."""


class PostgresStore:
    """See ``store.Store``."""

    def __init__(
        self,
        url: str,
        vault: Vault,
        *,
        clock: ServerClock | None = None,
        on_ready: Callable[[int], None] = lambda _: None,
        write_within_s: float = WRITE_WITHIN_S,
        read_within_s: float = READ_WITHIN_S,
    ) -> None:
        """``clock`` learns the server's time; ``on_ready`` is called on the event loop when another process has told
        from when on something may be claimed (0: at once); ``..._within_s`` is how long one statement may take."""
        self._telemetry = Telemetry()
        self._clock = clock or ServerClock()
        self.hot = PostgresHotStatements(self._clock)
        self.in_order = PostgresOrderStatements()
        self.rollups = PostgresRollupStatements()
        self.within = PostgresWithin()
        self._url = url
        self._write_within_s = write_within_s
        self._read_within_s = read_within_s
        self._name = name_of(url)
        self._vault = vault
        self._roster = Roster()
        self._own_name = secrets.token_hex(8)
        self._news = News(
            partial(connect, url),
            self._own_name,
            self._clock,
            on_ready=on_ready,
            on_revision=self._follow,
        )
        self._commits: GroupCommit | None = None
        self._alone = False
        self._writing = 0
        self._chances: defaultdict[tuple[str, ...], Chances] = defaultdict(Chances)

    @property
    def roster(self) -> Roster:
        """The control plane as of the last transaction of this process, or of what others have told since."""
        return self._roster

    async def open(self) -> None:
        """Connect, migrate, check that the secret key fits, read the roster.

        Raises:
            StoreUnavailableError: the server cannot be reached or does not let us in.
            StoreVersionError: the database was written by a newer Tellwire.
            SettingsError: its secrets were sealed with another key.
        """
        self._writer, self._publish_writer = self._new_writer(), self._new_writer()
        self._read_engine = pool_of(self._url, _READERS, within_s=self._read_within_s).execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._loop = asyncio.get_running_loop()
        try:
            with translated(self._name):
                self._roster = await self._prepared()
                self._commits = self._gathered(self._writer)
                self._publishes = self._gathered(self._publish_writer)
                self._probes = self._publishes.register(_probe, settle, max_weight=50, stage="change")
                # Control-plane changes come first in a batch: they are few, and the rest routes by them.
                self._changes = self._commits.register(
                    self._run_changes, settle, max_weight=50, stage="change"
                )
                await self._news.open()
        except BaseException:
            self._commits = None
            await self._disconnect()
            raise

    async def close(self) -> None:
        """Write what waits, then disconnect."""
        if self._commits is None:
            return
        await self._news.close()
        commits, self._commits = self._commits, None
        await self._publishes.close()
        await commits.close()
        await self._disconnect()

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` on a snapshot that includes everything acknowledged so far."""
        self._opened()
        with translated(self._name):
            async with self._read_engine.connect() as connection:
                try:
                    return await connection.run_sync(query)
                except BaseException as error:
                    if lost(error):
                        await connection.run_sync(drop)
                    raise

    async def write(self, change: Callable[[Connection], T]) -> T:
        """Run ``change`` in a transaction; when this returns, it is durable. If it raises, nothing was changed."""
        self._opened()
        future: asyncio.Future[T] = self._loop.create_future()
        self._changes.submit((change, future))
        return await future

    async def try_writing(self) -> None:
        """Write on both connections. Raises StoreError."""
        self._opened()
        published: asyncio.Future[None] = self._loop.create_future()
        self._probes.submit((None, published))
        await asyncio.gather(self.write(write_something), published)

    def batched(
        self,
        run: Run,
        done: Done,
        *,
        max_weight: int,
        weigh: Weigh = one,
        patient: bool = False,
        stage: str = "other",
    ) -> BatchedWrite:
        """Register a stage's hot write; call it after ``open``."""
        commits = self._opened()
        if stage == "publish":
            commits = self._publishes
        return commits.register(run, done, max_weight, weigh, patient=patient, stage=stage)

    def tell(self, telemetry: Telemetry) -> None:
        """Tell ``telemetry`` of each commit; call it before ``open``."""
        self._telemetry = telemetry

    @property
    def connections(self) -> tuple[PoolUse, ...]:
        """How many connections of each pool are in use."""
        self._opened()
        return (PoolUse("write", self._writing, 2), use_of("read", self._read_engine))

    def roster_in(self, connection: Connection) -> Roster:
        """The control plane as this very transaction sees it."""
        at_once = gatherer_of(connection)
        if at_once is not None:
            at_once.take_for_granted(self._roster.revision)
            return self._roster
        roster, revision = self._roster, self.hot.revision(connection)
        while revision != roster.revision:  # others may commit between our statements: until it stands still
            roster = refresh(connection, roster, self._vault, revision)
            revision = self.hot.revision(connection)
        return roster

    async def _follow(self, revision: int | None) -> None:
        """Bring the roster up to date, if it is not at ``revision``."""
        before = self._roster
        if revision != before.revision:
            self._replace(before, await self.read(self.roster_in))

    def _replace(self, before: Roster, roster: Roster) -> None:
        # Reads and the writer overtake each other: what came meanwhile counts, unless this one is newer. A lower
        # revision than before is one as well, where nothing came: of a server that knows less than the last one did.
        if self._roster is before or roster.revision > self._roster.revision:
            self._roster = roster

    async def drop_days(self, before_ms: int) -> int:
        """Make the partitions of the days to come, drop those of days that have passed.

        On a connection of its own, so that no publisher waits for it.
        """
        self._opened()
        before_ms -= before_ms % DAY_MS
        with translated(self._name):
            connection = await connect(self._url, self._read_within_s)
            try:
                async with connection.transaction():
                    await make_ahead(connection)
                await drop_before(connection, before_ms)
            finally:
                connection.terminate()
        return before_ms

    def _opened(self) -> GroupCommit:
        if self._commits is None:
            raise ClosedError("the store is not open")
        return self._commits

    async def _prepared(self) -> Roster:
        engine = pool_of(self._url, 1, within_s=None)  # migrations take as long as they take
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(self._prepare)
        finally:
            await engine.dispose()

    def _prepare(self, connection: Connection) -> Roster:
        # Of many processes that start at once the first migrates, and the others wait for it.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        migrate(connection)
        await_only(make_ahead(driver_of(connection)))
        check_key(connection, self._vault)
        return self.roster_in(connection)

    async def _disconnect(self) -> None:
        await self._news.close()
        await self._writer.close()
        await self._publish_writer.close()
        await self._read_engine.dispose()

    def _new_writer(self) -> Writer:
        engine = pool_of(self._url, 1, within_s=self._write_within_s, writes=True)
        return Writer(engine.execution_options(isolation_level="AUTOCOMMIT"))  # we say BEGIN ourselves

    def _gathered(self, writer: Writer) -> GroupCommit:
        return GroupCommit(partial(self._commit_past_others, writer), self._loop, telemetry=self._telemetry)

    async def _commit_past_others(self, writer: Writer, work: Work) -> list[list[Any]]:
        self._writing += 1
        try:
            outcomes = await self._commit_at_once(writer, work)
            return await self._commit_again_and_again(writer, work) if outcomes is None else outcomes
        finally:
            self._writing -= 1

    async def _commit_again_and_again(self, writer: Writer, work: Work) -> list[list[Any]]:
        """Commit; where a transaction of another process was in the way, again in a new one."""
        for tries_left in reversed(range(_TRIES)):
            try:
                return await self._commit(writer, work)
            except Exception as error:
                if not collided(error):
                    raise
                if not tries_left:
                    raise BlockedError(
                        f"database {self._name}: others were in the way again and again"
                    ) from error
        raise AssertionError("the last try returns or raises")

    async def _commit_at_once(self, writer: Writer, work: Work) -> list[list[Any]] | None:
        """Commit in one statement, where that is worth a try; None where it cannot be: then nothing was written."""
        stages = tuple(write.stage for write, _ in work)
        if not _AT_ONCE.issuperset(stages) or not self._chances[stages].take():
            return None
        outcomes = await self._try_at_once(writer, work)
        self._chances[stages].went(well=outcomes is not None)
        return outcomes

    async def _try_at_once(self, writer: Writer, work: Work) -> list[list[Any]] | None:
        gathered = AtOnce()
        try:
            outcomes = [write.run(gathered.stand_in, items) for write, items in work]
        except TooMuchError:
            return None
        ready_ms = noted(gathered.stand_in)
        notification = None if ready_ms is None else (CHANNEL, self._news.word(ready_ms))
        # Who is refused may be so only by what was believed: that a key is new, or the control plane as it was.
        if gathered.is_empty or any(isinstance(one, BaseException) for some in outcomes for one in some):
            return None
        started = perf_counter()
        with translated(self._name):
            revision = await self._write_at_once(writer, *gathered.whole(notification))
        if revision is None:
            return None
        took_s = perf_counter() - started
        total = sum(len(items) for _, items in work)
        for write, items in work:
            write.spent_s += took_s * len(items) / total
        if revision != self._roster.revision:
            await self._follow(revision)
        return outcomes

    async def _write_at_once(self, writer: Writer, statement: str, values: list[Any]) -> int | None:
        """Run the one statement; gives the revision of the control plane, or None where it could not be done."""
        driver = await writer.driver()
        asked = self._clock.ask()
        try:
            row = await driver.fetchrow(statement, *values)
        except (asyncpg.DataError, ValueError):
            # It divides by zero, as something taken for granted is not so; or one of the values cannot be sent
            # or stored, and the usual way finds out whose.
            return None
        except BaseException as error:
            is_lost = lost(error)
            await writer.let_go(lost=is_lost)
            if collided(error):
                return None
            # A server that only reads has done nothing.
            if is_lost and not isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                raise in_doubt(self._name, error) from error
            raise
        if row is None:
            return None
        self._clock.told(asked, row[1])
        return cast(int, row[0])

    async def _commit(self, writer: Writer, work: Work) -> list[list[Any]]:
        before = self._roster
        with translated(self._name):
            outcomes, roster = await writer.run(partial(self._run, work))
        self._replace(before, roster)
        return outcomes

    def _run(self, work: Work, connection: Connection) -> tuple[list[list[Any]], Roster]:
        driver = driver_of(connection)
        noted(connection)
        try:
            await_only(driver.execute("BEGIN"))
            if work[0][0] is self._changes:
                self._alone = sum(len(items) for _, items in work) == 1
            outcomes = [write.run(connection, items) for write, items in work]
            roster = self.roster_in(connection)
            ready_ms = noted(connection)
            if ready_ms is not None:
                await_only(driver.execute(self._news.notification(ready_ms)))
        except BaseException as error:
            self._roll_back(connection, error)
            raise
        self._end(connection)
        return outcomes, roster

    def _end(self, connection: Connection) -> None:
        try:
            await_only(driver_of(connection).execute("COMMIT"))
        except BaseException as error:
            self._roll_back(connection, error)
            if lost(error):
                raise in_doubt(self._name, error) from error
            raise

    def _roll_back(self, connection: Connection, error: BaseException) -> None:
        try:
            if not lost(error):
                await_only(driver_of(connection).execute("ROLLBACK"))
                return
        except Exception:  # noqa: S110 - it is lost, and its transaction with it
            pass
        drop(connection)

    def _run_changes(self, connection: Connection, items: list[Any]) -> list[Any]:
        if self._alone:  # a change that shares its transaction with nobody needs no savepoint
            return [change(connection) for change, _ in items]
        driver = driver_of(connection)
        outcomes: list[Any] = []
        for change, _ in items:
            await_only(driver.execute("SAVEPOINT change"))
            try:
                outcomes.append(change(connection))
            except TellwireError as error:
                outcomes.append(error)
                await_only(driver.execute("ROLLBACK TO change"))
            await_only(driver.execute("RELEASE change"))
        return outcomes


async def stored_version_at(url: str) -> str | None:
    """The newest migration that the database at ``url`` has seen, or None; nothing is changed."""
    engine = pool_of(url, 1)
    try:
        with translated(name_of(url)):
            async with engine.connect() as connection:
                return await connection.run_sync(stored_version)
    finally:
        await engine.dispose()


def _probe(connection: Connection, items: list[Any]) -> list[None]:
    write_something(connection, PUBLISHING)
    return [None] * len(items)
