"""Statistics in the store: a journal that transactions append to, and rollups that it is added up in."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, func, select

from tellwire.deliver.roller import Roller
from tellwire.model.delivery import State
from tellwire.model.stats import Span
from tellwire.store import rollups
from tellwire.store.rollups import ALL_ENDPOINTS, EVERYBODY, RollupRow, forget_tenant, prune_rollups
from tellwire.store.store import Store
from tellwire.store.tables import rollups as table
from tellwire.store.tables import tally_journal
from tellwire.store.tallies import Tallies, Tally, decode, total
from tellwire.telemetry import Telemetry

from .rows import NOW, raw

HOUR, DAY = Span.HOUR.ms, Span.DAY.ms
START = NOW - NOW % DAY
STATES = (State.SUCCEEDED, State.EXHAUSTED, State.CANCELLED)


async def note(
    store: Store, chance: random.Random, attempts: int, endpoints: int = 3, within_ms: int = 2 * DAY
) -> None:
    """A transaction that tries so often, at some endpoints of two tenants within two days."""
    tallies = Tallies()
    for _ in range(attempts):
        tenant = chance.choice(("acme", "other"))
        endpoint = raw(chance.randint(1, endpoints) + (10 if tenant == "acme" else 20))
        at_ms = START + chance.randrange(within_ms)
        succeeded = chance.random() < 0.7
        tallies.attempt(tenant, endpoint, at_ms, chance.randrange(2_000), succeeded)
        tallies.ended(tenant, endpoint, chance.choice(STATES), at_ms, took_ms=chance.randrange(9_000))
    await store.write(lambda connection: rollups.append(connection, tallies))


async def roll_all(store: Store) -> None:
    """Add up until nothing is left."""
    await Roller(store, Telemetry()).roll_up()


async def everything(store: Store) -> dict[tuple[str, bytes, Span], list[Tally]]:
    """What is read of each endpoint, tenant and all, by hour and day."""
    endpoints = [
        (tenant, raw(n + first)) for tenant, first in (("acme", 10), ("other", 20)) for n in (1, 2, 3)
    ]
    whole = [(tenant, ALL_ENDPOINTS) for tenant in ("acme", "other", EVERYBODY)]

    def read(connection: Connection) -> dict[tuple[str, bytes, Span], list[Tally]]:
        return {
            (tenant, id, span): rollups.read(
                connection,
                tenant=tenant,
                endpoint_id=id,
                span=span,
                since_ms=START - DAY,
                until_ms=START + 9 * DAY,
            )
            for tenant, id in endpoints + whole
            for span in Span
        }

    return await store.read(read)


async def count(store: Store) -> tuple[int, int]:
    """How many entries are in the journal, and how many rollups there are."""
    return await store.read(
        lambda connection: (
            connection.execute(select(func.count()).select_from(tally_journal)).scalar_one(),
            connection.execute(select(func.count()).select_from(table)).scalar_one(),
        )
    )


async def test_adding_up_changes_nothing_that_is_read(store: Store) -> None:
    """Before, between and after, each answer is the same; parts add up to the whole."""
    chance = random.Random(5)
    for _ in range(10):
        await note(store, chance, 30)
    before = await everything(store)
    await roll_all(store)
    assert (await count(store))[0] == 0
    assert await everything(store) == before
    assert total(before[EVERYBODY, ALL_ENDPOINTS, Span.HOUR]) == total(
        before[EVERYBODY, ALL_ENDPOINTS, Span.DAY]
    )
    assert total(before[EVERYBODY, ALL_ENDPOINTS, Span.DAY]).attempts_succeeded < 300
    for _ in range(10):
        await note(store, chance, 30)
    between = await everything(store)
    await roll_all(store)
    assert await everything(store) == between
    whole = total(between[EVERYBODY, ALL_ENDPOINTS, Span.DAY])
    assert whole.attempts_succeeded + whole.attempts_failed == sum(whole.attempt_ms.values()) == 600
    assert whole.succeeded + whole.exhausted + whole.cancelled == 600
    assert sum(whole.delivery_ms.values()) == whole.succeeded
    parts = [tally for (_, id, span), found in between.items() if id and span is Span.HOUR for tally in found]
    assert total(parts) == whole


@pytest.mark.parametrize("span", Span)
async def test_a_range_begins_with_since_and_ends_before_until(store: Store, span: Span) -> None:
    """Pieces that lie side by side have nothing in common and leave nothing out, whether added up or not."""
    await note(store, random.Random(6), 200)

    async def read(since_ms: int, until_ms: int) -> list[Tally]:
        return await store.read(
            lambda connection: rollups.read(
                connection,
                tenant=EVERYBODY,
                endpoint_id=ALL_ENDPOINTS,
                span=span,
                since_ms=since_ms,
                until_ms=until_ms,
            )
        )

    for _ in ("in the journal", "added up"):
        whole = await read(START - DAY, START + 3 * DAY)
        assert len(whole) >= 2
        for number, tally in enumerate(whole):
            at_ms = tally.hour_ms
            assert await read(START - DAY, at_ms) == whole[:number]
            assert await read(at_ms, at_ms + span.ms) == [tally]
            assert await read(at_ms + 1, START + 3 * DAY) == whole[number + 1 :]
        await roll_all(store)


async def test_a_rollup_is_written_once_for_many_entries(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each of many transactions has tried at many endpoints, these are not written for each transaction."""
    written: Counter[rollups.Key] = Counter()
    put = store.rollups.put

    def counted(connection: Connection, rows: Sequence[RollupRow]) -> None:
        written.update(row[:4] for row in rows)
        put(connection, rows)

    monkeypatch.setattr(store.rollups, "put", counted)
    chance = random.Random(9)
    for _ in range(40):
        await note(store, chance, 200, endpoints=1_000, within_ms=HOUR)
    before = await everything(store)
    await roll_all(store)
    assert await everything(store) == before
    entries, rows = await count(store)
    assert entries == 0
    assert rows == len(written) > 2_000
    assert sum(written.values()) < 1.2 * rows


@pytest.mark.parametrize("endpoints", [3, 200])
async def test_processes_that_add_up_at_once_count_once(store: Store, second: Store, endpoints: int) -> None:
    """However two of them meet, while others go on appending."""
    chance = random.Random(6)
    for _ in range(30):
        await note(store, chance, 20, endpoints)
    await asyncio.gather(
        *(roll_all(one) for one in (store, second) * 3),
        *(note(second, chance, 20, endpoints) for _ in range(10)),
    )
    await roll_all(store)
    found = await everything(store)
    assert (await count(store))[0] == 0
    assert sum(total(found[EVERYBODY, ALL_ENDPOINTS, Span.HOUR]).attempt_ms.values()) == 800


async def test_who_was_overtaken_adds_nothing(store: Store, second: Store) -> None:
    """A process that stood still after it had read the journal: another has added that up, and there is something new,
    which on SQLite has the ids of what was there before."""
    await note(store, random.Random(10), 5)
    read = await store.read(rollups.journal)
    sums = decode(read[0].entries)
    await roll_all(second)
    await note(store, random.Random(11), 5)
    before = await everything(store)
    await store.write(lambda connection: rollups.put_together(store.rollups, connection, read, sums))
    assert await everything(store) == before
    await roll_all(store)
    assert await everything(store) == before


async def test_what_is_rolled_back_is_not_counted(store: Store) -> None:
    """Neither an append nor an addition of a transaction that failed."""
    await note(store, random.Random(7), 5)
    before = await everything(store)

    def fail(connection: Connection) -> None:
        tallies = Tallies()
        tallies.attempt("acme", raw(11), START, 5, True)
        rollups.append(connection, tallies)
        read = rollups.journal(connection)
        rollups.put_together(store.rollups, connection, read, [Tally("acme", raw(11), START)])
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        await store.write(fail)
    assert await everything(store) == before
    assert await count(store) == (1, 0)


async def test_hours_go_before_days(store: Store) -> None:
    """Each kind of piece has a retention of its own, and goes some at a time."""
    await note(store, random.Random(8), 50)
    await roll_all(store)
    hours = sum(len(found) for (*_, span), found in (await everything(store)).items() if span is Span.HOUR)

    def prune(connection: Connection) -> list[int]:
        return [
            prune_rollups(connection, span=Span.HOUR, before_ms=START + 9 * DAY, limit=hours - 1)
            for _ in range(3)
        ]

    assert await store.write(prune) == [hours - 1, 1, 0]
    found = await everything(store)
    assert not any(found[key] for key in found if key[2] is Span.HOUR)
    assert total(found[EVERYBODY, ALL_ENDPOINTS, Span.DAY]).attempts_failed > 0
    for before_ms, left in ((START + DAY, 1), (START + 2 * DAY, 0)):
        await store.write(
            lambda connection, ms=before_ms: prune_rollups(  # type: ignore[misc]
                connection, span=Span.DAY, before_ms=ms, limit=1_000
            )
        )
        assert len((await everything(store))[EVERYBODY, ALL_ENDPOINTS, Span.DAY]) == left


async def test_a_tenant_is_forgotten(store: Store) -> None:
    """Nothing of it is left, other tenants keep theirs, and the whole server what it has done."""
    chance = random.Random(9)
    await note(store, chance, 50)
    await roll_all(store)
    before = await everything(store)
    removed = 0
    while some := await store.write(lambda connection: forget_tenant(connection, "acme", limit=7)):
        removed += some
    after = await everything(store)
    assert removed == sum(len(found) for (tenant, *_), found in before.items() if tenant == "acme")
    assert after == {key: [] if key[0] == "acme" else found for key, found in before.items()}
