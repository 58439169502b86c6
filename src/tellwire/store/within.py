"""What a store runs on a connection of the caller's, inside the caller's transaction (see ``publish.within``).

Generators: they yield what they want, most of it SQL, and are sent the answer; an error of the driver is thrown in. So
they know nothing of drivers, and whoever runs them knows nothing of the database. Nothing here commits, rolls back
further than to a savepoint of its own, or closes.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec
from sqlalchemy import Connection

from .order import Place
from .roster import Roster
from .rows import DeliveryRows, EventRows, PageRow

T = TypeVar("T")
Rows = Sequence[Sequence[Any]]

PAUSE_S: Final = 0.005
PATIENCE_MS: Final = 5_000


class Sql(NamedTuple):
    """A statement for the caller's connection; its answer are the rows."""

    text: str
    values: tuple[Any, ...] = ()


UNDO: Final = Sql("ROLLBACK TO SAVEPOINT tellwire")


class Wish(Enum):
    """What is wanted besides statements."""

    GROUND = "read on Tellwire's own connection where its tables are and what the roster is; the answer is a Ground"
    PAUSE = "let the event loop do other things for PAUSE_S"


Steps = Generator[Sql | Wish, Any, T]


class Ground(msgspec.Struct, frozen=True):
    """Where Tellwire's tables are (``place`` tells databases apart, ``schema`` is for names), and its roster."""

    place: object
    schema: str
    roster: Roster


class NewRows(NamedTuple):
    """What is to be stored, all or nothing."""

    events: EventRows
    deliveries: DeliveryRows
    pages: Sequence[PageRow]


class WithinStatements(Protocol):
    """A database's statements for the caller's transaction.

    Those that may wait for another transaction take ``hurried``: the caller's driver would hold up the event loop while
    it waits, and what it waits for may need that loop. Then they try, pause and try again.
    """

    dialect: str

    def place_in(self, connection: Connection) -> tuple[object, str]:
        """The place and the schema of Tellwire's tables, as Tellwire's own ``connection`` sees them."""

    def place(self) -> Steps[object]:
        """The database that the caller's connection is on; None is one that nobody else can be on."""

    def revision(self, schema: str, *, hurried: bool) -> Steps[int]:
        """How often the control plane has changed, as the caller's transaction sees it."""

    def visible(self, schema: str, endpoint_ids: Sequence[bytes]) -> Steps[set[bytes]]:
        """Those endpoints that the caller's transaction sees."""

    def known(self, schema: str, places: Sequence[tuple[str, str]]) -> Steps[Rows]:
        """The events that hold the idempotency keys ``(tenant, key)``.

        Rows of the key's index in ``places``, fingerprint, id, occurred_ms, created_ms and deliveries.
        """

    def last(self, schema: str, places: Sequence[Place]) -> Steps[list[bytes | None]]:
        """See ``order.OrderStatements``."""

    def insert(self, schema: str, rows: NewRows, *, keyed: bool, hurried: bool) -> Steps[bool]:
        """Store all rows or, where it gives False, none.

        False: another transaction has stored one of the idempotency keys since ``known`` was asked. ``keyed``: there
        are such keys.
        """


def savepoint(steps: Steps[T]) -> Steps[T]:
    """Run ``steps`` between a savepoint and its release; if they fail, it is as if they had never run."""
    release = Sql("RELEASE SAVEPOINT tellwire")
    yield Sql("SAVEPOINT tellwire")
    return (yield from ending(steps, failed=(UNDO, release), done=(release,)))


def ending(steps: Steps[T], *, failed: Sequence[Sql], done: Sequence[Sql]) -> Steps[T]:
    """Run ``steps``, then ``done``, or ``failed`` before their error goes on."""
    try:
        result = yield from steps
    except GeneratorExit:  # nobody is there any more to run anything
        raise
    except BaseException:
        with suppress(Exception):  # the connection may be lost, and what is to be undone with it
            for statement in failed:
                yield statement
        raise
    for statement in done:
        yield statement
    return result


def code_of(error: BaseException) -> object:
    """The database's own code of a driver's error, which SQLAlchemy or Django may have wrapped: sqlstate or number."""
    for found in _chain(error):
        for name in ("sqlstate", "pgcode", "sqlite_errorcode"):
            code = getattr(found, name, None)
            if code is not None:
                return code
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__
