"""What every store promises. One conformance suite (tests/store) holds each of them to it."""

from collections.abc import Callable, Sequence, Set
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from tellwire.telemetry import Telemetry

from .group_commit import BatchedWrite, Done, Run, Weigh, one
from .order import OrderStatements
from .rollups import RollupStatements
from .roster import Roster
from .rows import AttemptRow, ClaimedRow, DeliveryRows, EventRows, Outcome, PageRow, PoolUse
from .within import WithinStatements

T = TypeVar("T")


class Store(Protocol):
    """Durable memory of one Tellwire. Everything it acknowledges survives the loss of power."""

    @property
    def roster(self) -> Roster:
        """The control plane as of the last transaction of this process, and soon after others have changed it."""

    async def open(self) -> None:
        """Connect, migrate, check the secret key. Raises StoreError or SettingsError with what to do."""

    async def close(self) -> None:
        """Write what waits, then disconnect."""

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` on a snapshot that includes everything acknowledged so far."""

    async def write(self, change: Callable[[Connection], T]) -> T:
        """Run ``change`` in a transaction; when this returns, it is durable. If it raises, nothing was changed."""

    async def try_writing(self) -> None:
        """Write, in every way in which this store writes: when this returns, what is published now can be stored.

        Raises StoreError.
        """

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
        """Register a stage's hot write: items submitted at about the same time share a transaction.

        One transaction takes items until their weights reach ``max_weight``; each weighs one unless ``weigh`` says
        otherwise. ``patient`` items may wait some milliseconds under load to share a commit. ``stage`` is whose write
        it is, for telemetry.
        """

    def tell(self, telemetry: Telemetry) -> None:
        """Tell ``telemetry`` of each commit; call it before ``open``."""

    @property
    def connections(self) -> tuple[PoolUse, ...]:
        """How many connections of each pool are in use, where there are pools."""

    def roster_in(self, connection: Connection) -> Roster:
        """The control plane as this very transaction sees it."""

    async def drop_days(self, before_ms: int) -> int:
        """Make room for the days to come; drop the days that are wholly older than ``before_ms``, where days are kept
        apart. Gives the instant before which what is left is to be pruned row by row."""

    @property
    def hot(self) -> "HotStatements":
        """The statements of the hot path."""

    @property
    def in_order(self) -> OrderStatements:
        """The statements for deliveries that stand in sequences."""

    @property
    def rollups(self) -> RollupStatements:
        """The statements that add up statistics."""

    @property
    def within(self) -> WithinStatements:
        """The statements for a connection and transaction of the caller's."""


class HotStatements(Protocol):
    """The statements of the hot path: few and large, in the database's own dialect."""

    def revision(self, connection: Connection) -> int:
        """How often the control plane has changed: asked once or twice in every transaction."""

    def insert_events(self, connection: Connection, rows: EventRows) -> None:
        """Store events."""

    def insert_deliveries(
        self, connection: Connection, rows: DeliveryRows, quiet: Set[bytes] = frozenset()
    ) -> None:
        """Store deliveries; those with a lease are born claimed, and others hear of those without: at once, but for
        the endpoints of ``quiet``, whose deliveries this process fetches itself, or nobody may: ``QUIET_MS`` later.
        """

    def insert_pages(self, connection: Connection, rows: Sequence[PageRow]) -> None:
        """Store what is to be fanned out in the background."""

    def record(
        self, connection: Connection, outcomes: Sequence[Outcome], attempts: Sequence[AttemptRow]
    ) -> set[bytes]:
        """Write the outcomes whose lease still holds, with their attempts; gives the ids of those deliveries."""

    def append_tallies(self, connection: Connection, entries: bytes) -> None:
        """Append to the journal what this transaction does (see ``tallies``)."""

    def extend(
        self, connection: Connection, leases: Sequence[tuple[bytes, int]], until_ms: int
    ) -> set[bytes]:
        """Extend the leases ``(delivery id, token)`` that still hold; gives the ids of those deliveries."""

    def release(self, connection: Connection, leases: Sequence[tuple[bytes, int]]) -> None:
        """Give up the leases ``(delivery id, token)`` that still hold: the deliveries can be claimed at once."""

    def seal(
        self, connection: Connection, leases: Sequence[tuple[bytes, int]], batch_id: bytes, until_ms: int
    ) -> set[tuple[bytes, int]]:
        """Make one batch of the deliveries whose leases ``(delivery id, token)`` still hold, which then end at the
        same time; gives those leases."""

    def expire(self, connection: Connection, leases: Sequence[tuple[bytes, int]], now_ms: int) -> set[bytes]:
        """End, as expired, the deliveries whose leases ``(delivery id, token)`` still hold; gives their ids."""

    def ready_lanes(self, connection: Connection) -> list[tuple[bytes, int]]:
        """For each endpoint with pending deliveries in no sequence: its id, and when the first may be claimed."""

    def lanes_ready(self, connection: Connection, endpoint_ids: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """The same for these endpoints alone."""

    def claim(
        self,
        connection: Connection,
        endpoint_id: bytes,
        *,
        now_ms: int,
        until_ms: int,
        token: int,
        limit: int,
    ) -> list[ClaimedRow]:
        """Claim up to ``limit`` deliveries of one lane that stand in no sequence and are due, or whose lease has
        expired, oldest first. What it costs does not grow with what waits, in this lane or in others."""


class Submitter(Protocol):
    """The side of a ``BatchedWrite`` that a stage uses."""

    def submit(self, item: Any) -> None:
        """Put ``item`` into the next transaction."""
