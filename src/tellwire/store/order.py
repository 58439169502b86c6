"""Order in the store: deliveries that stand in a sequence, of which only the first pending one may be claimed.

Nobody keeps a list of who is first: it is seen at each claim, by the ids. So nothing has to be put right after a crash,
and whatever makes a delivery pending again (a retry by hand, a replay) puts it back into its old place. What is pending
or exhausted and has a sequence stands in it, and nothing else; an exhausted one blocks what comes after it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, takewhile
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import ColumnElement, Connection, literal, null, select, text, update

from tellwire.ids import behind
from tellwire.model.order import KEYED, WHOLE

from .paging import first_id_of
from .rows import ClaimedRow, Head, OrderedDeliveryRow
from .tables import deliveries, events, still_pending

CLOCKS_APART_MS: Final = 1_000
"""How far the clocks of processes may be apart without doing harm to the order."""
_GLANCED_AT: Final = 50

# Literally, not as parameters: the planner must see that this is the condition of the partial index.
_BLOCKING: Final = "state = 2 AND sequence IS NOT NULL"


class Place(NamedTuple):
    """Where in a sequence a new delivery is to stand: after all pending ones whose ids are smaller than ``before``."""

    endpoint_id: bytes
    sequence: str
    before: bytes


class Run(NamedTuple):
    """So many deliveries of a sequence, at most, are to be claimed from its head on."""

    head: Head
    most: int


class Further(NamedTuple):
    """So many deliveries of a sequence, at most, are to be claimed behind ``last``, which ends what somebody holds."""

    sequence: str
    last: bytes
    most: int

    @property
    def first(self) -> bytes:
        """The smallest id that comes after ``last``; no delivery has it."""
        return self.last + b"\0"


class OrderStatements(Protocol):
    """The statements for deliveries in sequences, in the database's own dialect."""

    def lanes(self, connection: Connection) -> list[bytes]:
        """The endpoints at which pending deliveries stand in sequences: one index seek for each."""

    def heads(self, connection: Connection, endpoint_id: bytes, *, after: str, most: int) -> list[Head]:
        """The heads of an endpoint's sequences whose names come after ``after`` (the empty one: of all), by name.

        Takes some index seeks for each, however many deliveries stand behind them.
        """

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
        """Claim from each head on what may be sent now, one after the other: up to the first that is not due, or is
        held, or is blocked, or was last sent in another batch than the head. A head that somebody else claims at this
        moment is passed over, with all behind it."""

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
        """For each, claim what may be sent after ``last``: as ``claim`` does, and only where ``token`` still holds all
        that is pending in the sequence up to there, so that nobody else may send anything of it."""

    def last(self, connection: Connection, places: Sequence[Place]) -> list[bytes | None]:
        """For each place the pending delivery that is to come right before it, if there is one."""


def of_one_batch(rows: Iterable[Any]) -> Iterator[Any]:
    """The first rows of a run that were last sent in the same batch, or all in none; that is their last column.

    What was sent in one batch is sent again in one.
    """
    following = iter(rows)
    first = next(following, None)
    if first is None:
        return iter(())
    return chain((first,), takewhile(lambda row: row[-1] == first[-1], following))


def places_of(rows: Iterable[OrderedDeliveryRow]) -> list[Place]:
    """The places of new deliveries, each once."""
    return list(dict.fromkeys(_place(row) for row in rows if row.sequence is not None))


def placed(
    rows: Sequence[OrderedDeliveryRow], last: Mapping[Place, bytes | None]
) -> list[OrderedDeliveryRow]:
    """New deliveries, in the order of publishing, with ids that come after those that were there before.

    Ids begin with the time, and clocks of processes differ: without this, what is published here after it was
    acknowledged there might come before it.
    """
    before = {place: id for place, id in last.items() if id is not None}
    found: list[OrderedDeliveryRow] = []
    for row in rows:
        if row.sequence is not None:
            place = _place(row)
            if place in before:
                row = row._replace(id=behind(row.id, before[place]))
            before[place] = row.id
        found.append(row)
    return found


def put_in_line(
    statements: OrderStatements, connection: Connection, rows: Sequence[OrderedDeliveryRow]
) -> list[OrderedDeliveryRow]:
    """New deliveries with the ids under which they are to be stored in this transaction."""
    places = places_of(rows)
    return placed(rows, dict(zip(places, statements.last(connection, places), strict=True)))


def _place(row: OrderedDeliveryRow) -> Place:
    # What is to be delivered later stands where it is due: until then, nothing has to wait for it.
    later_ms = 1 if row.due_ms > row.created_ms else CLOCKS_APART_MS
    return Place(row.endpoint_id, row.sequence or "", first_id_of(row.due_ms + later_ms))


def sequence_now(order: str | None) -> ColumnElement[Any]:
    """The sequence that a row of ``deliveries`` is to stand in at an endpoint with this order, as a column."""
    if order == "endpoint":
        return literal(WHOLE)
    if order != "key":
        return null()
    key = select(events.c.ordering_key).where(events.c.id == deliveries.c.event_id).scalar_subquery()
    return literal(KEYED) + key


def rearrange(connection: Connection, endpoint_id: bytes, order: str | None) -> None:
    """Have what is pending stand in the sequences of another order, each where its id is."""
    for pending in still_pending(connection):
        connection.execute(
            update(deliveries)
            .where(deliveries.c.endpoint_id == endpoint_id, text(pending))
            .values(sequence=sequence_now(order))
        )


def unblock(connection: Connection, endpoint_id: bytes) -> None:
    """Let everything that is exhausted step aside."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.endpoint_id == endpoint_id, text(_BLOCKING))
        .values(sequence=None)
    )


def step_aside(connection: Connection, ids: Collection[bytes]) -> None:
    """Let these exhausted deliveries block nothing any more."""
    if ids:
        connection.execute(
            update(deliveries).where(deliveries.c.id.in_(ids), text("state = 2")).values(sequence=None)
        )


class Glance(NamedTuple):
    """What a look at some of an endpoint's sequences showed.

    ``ready_ms`` is when the first of their heads may be claimed, None where all of them are blocked; ``whole`` tells
    whether that were all sequences.
    """

    endpoint_id: bytes
    ready_ms: int | None
    whole: bool


def glances(statements: OrderStatements, connection: Connection) -> list[Glance]:
    """A look at each endpoint at which pending deliveries stand in sequences."""
    found: list[Glance] = []
    for endpoint_id in statements.lanes(connection):
        heads = statements.heads(connection, endpoint_id, after="", most=_GLANCED_AT)
        ready_ms = min((head.ready_ms for head in heads if not head.is_blocked), default=None)
        found.append(Glance(endpoint_id, ready_ms, len(heads) < _GLANCED_AT))
    return found
