"""Queries on lanes: which process owns the lane of an endpoint whose limits hold across processes, and until when.

An owner that has died owns until its lease ends; nobody takes a lane before. For other endpoints there is a row only
while a process notes why it holds deliveries back (``note``); that lane belongs to nobody.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, TextClause, bindparam, select, text, update

from tellwire.model.delivery import WaitingFor
from tellwire.policy.circuit import Circuit

from .tables import lanes


class Taken(NamedTuple):
    """What came of taking a lane: ``mine`` until ``until_ms``, or somebody else's until then.

    ``idle_since_ms`` tells since when nobody has owned it, or None where nobody ever has; ``circuit`` is its circuit,
    where the last owner left it open.
    """

    mine: bool
    until_ms: int
    idle_since_ms: int | None = None
    circuit: Circuit | None = None


_BOUND: Final = {
    "endpoint_id": lanes.c.endpoint_id,
    "owner": lanes.c.owner,
    "until_ms": lanes.c.until_ms,
    "now_ms": lanes.c.until_ms,
    "waiting_for": lanes.c.waiting_for,
}


def _statement(sql: str, *names: str) -> TextClause:
    return text(sql).bindparams(*(bindparam(name, type_=_BOUND[name].type) for name in names))


_OWNER: Final = select(lanes.c.owner, lanes.c.until_ms, lanes.c.circuit).where(
    lanes.c.endpoint_id == bindparam("endpoint_id")
)
_TAKE: Final = _statement(
    """
    INSERT INTO lanes (endpoint_id, owner, until_ms) VALUES (:endpoint_id, :owner, :until_ms)
    ON CONFLICT (endpoint_id) DO UPDATE SET owner = excluded.owner, until_ms = excluded.until_ms,
        waiting_for = CASE WHEN lanes.owner = excluded.owner THEN lanes.waiting_for END
    WHERE lanes.owner = excluded.owner OR lanes.until_ms <= :now_ms
    RETURNING endpoint_id""",
    "endpoint_id", "owner", "until_ms", "now_ms",
)  # fmt: skip
_NOTE: Final = _statement(
    """
    INSERT INTO lanes (endpoint_id, owner, until_ms, waiting_for)
    VALUES (:endpoint_id, :owner, :until_ms, :waiting_for)
    ON CONFLICT (endpoint_id) DO UPDATE SET
        owner = excluded.owner, until_ms = excluded.until_ms, waiting_for = excluded.waiting_for
    WHERE lanes.owner = excluded.owner OR lanes.until_ms <= :now_ms""",
    "endpoint_id", "owner", "until_ms", "now_ms", "waiting_for",
)  # fmt: skip


def take(connection: Connection, endpoint_id: bytes, owner: int, *, now_ms: int, until_ms: int) -> Taken:
    """Own a lane until ``until_ms``, if nobody else does."""
    before = connection.execute(_OWNER, {"endpoint_id": endpoint_id}).first()
    if before is not None and before.owner != owner and before.until_ms > now_ms:
        return Taken(False, before.until_ms)
    values = {"endpoint_id": endpoint_id, "owner": owner, "until_ms": until_ms, "now_ms": now_ms}
    if connection.execute(_TAKE, values).first() is None:
        return Taken(False, until_ms)  # another has been quicker
    if before is None:
        return Taken(True, until_ms)
    circuit = None if before.circuit is None else msgspec.json.decode(before.circuit, type=Circuit)
    return Taken(True, until_ms, before.until_ms, circuit)


def renew(
    connection: Connection, endpoint_ids: Collection[bytes], owner: int, *, until_ms: int
) -> set[bytes]:
    """Own these lanes for longer; gives those that are still the owner's."""
    return set(
        connection.execute(
            update(lanes)
            .where(lanes.c.owner == owner, lanes.c.endpoint_id.in_(endpoint_ids))
            .values(until_ms=until_ms)
            .returning(lanes.c.endpoint_id)
        ).scalars()
    )


def tell(
    connection: Connection,
    endpoint_ids: Collection[bytes],
    owner: int,
    waiting_for: WaitingFor | None,
    circuit: Circuit | None = None,
) -> None:
    """Write down why the owner's lanes hold deliveries back, or that they do not; with the circuit that is open."""
    connection.execute(
        update(lanes)
        .where(lanes.c.owner == owner, lanes.c.endpoint_id.in_(endpoint_ids))
        .values(
            waiting_for=waiting_for,
            circuit=None if circuit is None else msgspec.json.encode(circuit).decode(),
        )
    )


def note(
    connection: Connection,
    endpoint_ids: Collection[bytes],
    owner: int,
    waiting_for: WaitingFor,
    *,
    now_ms: int,
    until_ms: int,
) -> None:
    """Write down why a process holds deliveries back in lanes that are nobody's: true until ``until_ms``."""
    values = {"owner": owner, "until_ms": until_ms, "now_ms": now_ms, "waiting_for": str(waiting_for)}
    connection.execute(_NOTE, [{"endpoint_id": id, **values} for id in endpoint_ids])


def broken(connection: Connection, now_ms: int) -> set[bytes]:
    """The endpoints whose deliveries wait for a circuit, as somebody says who may know."""
    return set(connection.execute(select(lanes.c.endpoint_id).where(waits_for_circuit(now_ms))).scalars())


def waits_for_circuit(now_ms: int) -> ColumnElement[bool]:
    """Whether what is for the endpoint of a row waits for a circuit, as somebody says who may know."""
    return (lanes.c.waiting_for == WaitingFor.CIRCUIT) & (lanes.c.until_ms > now_ms)


def waits_for_rate(now_ms: int) -> ColumnElement[bool]:
    """Whether what is for the endpoint of a row waits for its limits, as somebody says who may know."""
    return (lanes.c.waiting_for == WaitingFor.RATE) & (lanes.c.until_ms > now_ms)


def give_up(connection: Connection, owner: int, *, now_ms: int) -> None:
    """Own no lanes any more: others may take them at once."""
    connection.execute(
        update(lanes).where(lanes.c.owner == owner, lanes.c.until_ms > now_ms).values(until_ms=now_ms)
    )
