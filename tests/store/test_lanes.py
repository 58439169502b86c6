"""Ownership of lanes: one owner at a time, until its lease ends or it gives up."""

from sqlalchemy import Connection, select

from tellwire.deliver.ownership import Ownership, Taking
from tellwire.model.delivery import WaitingFor
from tellwire.policy.circuit import Circuit
from tellwire.store import lanes
from tellwire.store.store import Store
from tellwire.store.tables import lanes as table
from tellwire.telemetry import Telemetry

from .rows import NOW, raw

A, B = 2**62 + 1, 7


async def take(store: Store, number: int, owner: int, now_ms: int, lease_ms: int = 60_000) -> lanes.Taken:
    def run(connection: Connection) -> lanes.Taken:
        return lanes.take(connection, raw(number), owner, now_ms=now_ms, until_ms=now_ms + lease_ms)

    return await store.write(run)


async def test_a_lane_has_one_owner_until_its_lease_ends(store: Store) -> None:
    """Who comes second learns when to come again; then the lane was idle since the end of the lease."""
    assert await take(store, 1, A, NOW) == lanes.Taken(True, NOW + 60_000, None)
    assert await take(store, 1, B, NOW + 59_999) == lanes.Taken(False, NOW + 60_000)
    assert await take(store, 2, B, NOW) == lanes.Taken(True, NOW + 60_000, None)
    assert await take(store, 1, B, NOW + 60_000) == lanes.Taken(True, NOW + 120_000, NOW + 60_000)
    assert not (await take(store, 1, A, NOW + 60_001)).mine


async def test_the_owner_renews_and_gives_up(store: Store) -> None:
    """Renewing tells which lanes are still its own; what is given up is anybody's at once."""
    await take(store, 1, A, NOW)
    await take(store, 2, B, NOW)
    ids = [raw(1), raw(2), raw(3)]
    assert await store.write(lambda c: lanes.renew(c, ids, A, until_ms=NOW + 90_000)) == {raw(1)}
    assert not (await take(store, 1, B, NOW + 70_000)).mine
    await store.write(lambda c: lanes.give_up(c, A, now_ms=NOW + 70_000))
    assert await take(store, 1, B, NOW + 70_000) == lanes.Taken(True, NOW + 130_000, NOW + 70_000)
    assert await store.write(lambda c: lanes.renew(c, ids, A, until_ms=NOW + 90_000)) == set()


async def test_the_next_owner_learns_of_an_open_circuit(store: Store) -> None:
    """What the owner tells is kept with the lane, and whoever takes it next goes on with its circuit."""
    circuit = Circuit(opened_ms=NOW, probe_ms=NOW + 30_000, probes=2)
    await take(store, 1, A, NOW)
    await tell(store, A, WaitingFor.CIRCUIT, circuit)
    assert await told(store) == WaitingFor.CIRCUIT
    assert (await take(store, 1, A, NOW + 1)).circuit == circuit
    assert await told(store) == WaitingFor.CIRCUIT
    assert (await take(store, 1, B, NOW + 60_001)).circuit == circuit
    assert await told(store) is None, "nobody knows yet why it would wait"
    await tell(store, B, None)
    assert (await take(store, 1, A, NOW + 120_001)).circuit is None


async def test_only_the_owner_tells_why_a_lane_waits(store: Store) -> None:
    """Whoever has lost a lane changes nothing in it any more."""
    await take(store, 1, A, NOW)
    await tell(store, A, WaitingFor.RATE)
    await tell(store, B, None)
    assert await told(store) == WaitingFor.RATE
    await take(store, 1, B, NOW + 60_000)
    await tell(store, A, WaitingFor.CIRCUIT, Circuit(opened_ms=NOW))
    assert await told(store) is None
    assert (await take(store, 1, A, NOW + 120_000)).circuit is None


async def test_a_lane_that_was_lost_is_owned_anew(store: Store) -> None:
    """A process that takes a lane again after its ownership has ended learns what others left there, and forgets what
    it knew; while it is the owner, taking it again tells nothing new."""
    clock = StillClock(NOW)
    ownership = Ownership(
        store, clock, Telemetry(), owner=A, lease_ms=60_000, needed_ms=20_000, busy=lambda _: False
    )

    async def own() -> list[bytes]:
        taking = Taking()
        assert await store.write(lambda connection: ownership.take(connection, raw(1), taking))
        return [id for id, _ in ownership.accept(taking)]

    assert await own() == [raw(1)]
    clock.at_ms = NOW + 45_000
    assert not ownership.holds(raw(1))
    assert ownership.remembers(raw(1))
    assert await own() == []
    clock.at_ms = NOW + 105_000
    assert (await take(store, 1, B, NOW + 105_000, lease_ms=1)).mine
    clock.at_ms = NOW + 105_001
    assert await own() == [raw(1)]


async def test_a_lane_that_is_taken_with_an_open_circuit_gets_a_probe_alone(store: Store) -> None:
    """The claim by which a lane is taken already knows that its circuit is open."""
    await take(store, 1, A, NOW)
    await tell(store, A, WaitingFor.CIRCUIT, Circuit(opened_ms=NOW))
    taking = Taking()
    taking.mine[raw(1)] = await take(store, 1, B, NOW + 60_000)
    taking.mine[raw(2)] = await take(store, 2, B, NOW + 60_000)
    assert taking.leaves_open(raw(1))
    assert not taking.leaves_open(raw(2))
    assert not taking.leaves_open(raw(3))


class StillClock:
    """A clock that is set by hand."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms


async def tell(store: Store, owner: int, why: WaitingFor | None, circuit: Circuit | None = None) -> None:
    await store.write(lambda connection: lanes.tell(connection, [raw(1)], owner, why, circuit))


async def told(store: Store) -> str | None:
    query = select(table.c.waiting_for).where(table.c.endpoint_id == raw(1))
    return await store.read(lambda connection: connection.execute(query).scalar_one())


async def note(store: Store, owner: int, now_ms: int) -> None:
    def run(connection: Connection) -> None:
        why = WaitingFor.CIRCUIT
        lanes.note(connection, [raw(1), raw(2)], owner, why, now_ms=now_ms, until_ms=now_ms + 15_000)

    await store.write(run)


async def broken(store: Store, now_ms: int) -> set[bytes]:
    return await store.read(lambda connection: lanes.broken(connection, now_ms))


async def test_what_nobody_owns_may_be_noted(store: Store) -> None:
    """A note is believed for a while, taken back by whoever wrote it, and takes no lane from its owner."""
    await take(store, 2, B, NOW)
    await note(store, A, NOW)
    assert await broken(store, NOW + 14_999) == {raw(1)}
    assert await broken(store, NOW + 15_000) == set()
    await note(store, B, NOW + 1_000)
    assert await broken(store, NOW + 15_500) == {raw(2)}, "the note on 1 is A's as long as it holds"
    await note(store, A, NOW + 10_000)
    await tell(store, A, None)
    assert raw(1) not in await broken(store, NOW + 10_001)
