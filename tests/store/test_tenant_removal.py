"""Removing tenants: everything of theirs goes, piece by piece, and nothing of anybody else's."""

import asyncio
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Connection, func, select
from tests.postgres import database_in

from tellwire.deliver.roller import Roller
from tellwire.errors import ConflictError, NotFoundError
from tellwire.model.key import Scope
from tellwire.model.tenant import TenantLimits, TenantState
from tellwire.signing.vault import Vault
from tellwire.store import endpoints, keys, tenant_removal, tenants
from tellwire.store import tables as all_tables
from tellwire.store.rollups import EVERYBODY, append
from tellwire.store.rows import PageRow
from tellwire.store.store import Store
from tellwire.store.tallies import Tallies
from tellwire.store.tenant_removal import SETTLE_MS, Piece, forget_removed, remove_piece
from tellwire.telemetry import Telemetry

from .backends import Backend
from .rows import NOW, SECRET, attempt_row, delivery_row, event_row, new_endpoint, outcome, raw, until

LATER = NOW + SETTLE_MS
COUNTED = ("keys", "endpoints", "secrets", "events", "deliveries", "attempts", "fanout_pages")


async def fill(store: Store, vault: Vault, tenant: str, first: int, events: int) -> None:
    """An endpoint with its secret, and events with a delivery and an attempt each; one event waits in a page."""
    endpoint = new_endpoint(first, tenant=tenant)

    def add(connection: Connection) -> None:
        assert endpoints.create(connection, vault, endpoint) is not None
        endpoints.add_secret(connection, vault, raw(first + 1), endpoint.id, SECRET, overlap_ms=0, now_ms=NOW)
        new = keys.NewKey(raw(first + 2), "n", "tw_", raw(first) * 2, (Scope.READ,), tenant)
        keys.create(connection, new, now_ms=NOW)
        numbers = range(first + 10, first + 10 + events)
        store.hot.insert_events(connection, [event_row(n, tenant=tenant) for n in numbers])
        store.hot.insert_deliveries(
            connection, [delivery_row(n, n, raw(first), token=1, until=LATER) for n in numbers]
        )
        store.hot.record(connection, [outcome(n, 1) for n in numbers], [attempt_row(n) for n in numbers])
        store.hot.insert_pages(connection, [PageRow(raw(first + 10), 0, 1, raw(first))])

    await store.write(add)


async def counts(store: Store) -> dict[str, int]:
    def count(connection: Connection) -> dict[str, int]:
        found = {name: all_tables.metadata.tables[name] for name in COUNTED}
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in found.items()
        }

    return await store.read(count)


async def pieces(store: Store, now_ms: int) -> list[Piece]:
    """Remove until there is nothing to remove; what each piece came to."""
    found: list[Piece] = []
    while True:
        piece, _ = await store.write(partial(remove_piece, now_ms=now_ms))
        if piece is Piece.NOTHING:
            return found
        found.append(piece)


async def two_tenants(store: Store, vault: Vault) -> None:
    await store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW))
    await fill(store, vault, "default", 1_000, 3)
    await fill(store, vault, "acme", 2_000, 7)


async def test_everything_of_a_deleted_tenant_goes(
    store: Store, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of a few rows nothing of it stays, and everything of the other tenant does."""
    for name, size in [("_LOOKED_AT", 4), ("_EVENTS", 2), ("_DELIVERIES", 2), ("_ROWS", 1)]:
        monkeypatch.setattr(tenant_removal, name, size)
    await two_tenants(store, vault)
    await store.write(partial(tenants.mark_deleted, id="acme", now_ms=NOW))
    assert await pieces(store, LATER - 1) == []
    found = await pieces(store, LATER)
    assert found[-1] is Piece.LAST
    assert found.count(Piece.MORE) > 7
    assert await counts(store) == {
        **dict.fromkeys(COUNTED, 3),
        "keys": 1,
        "endpoints": 1,
        "secrets": 1,
        "fanout_pages": 1,
    }
    with pytest.raises(NotFoundError):
        await store.read(partial(tenants.get, id="acme"))
    page = await store.read(partial(tenants.list_page, limit=9, cursor=None))
    assert [one.id for one in page.data] == ["default"]


async def test_the_statistics_of_a_deleted_tenant_go(store: Store, vault: Vault) -> None:
    """Those that are not added up yet are waited for, so that nothing of them comes after the end."""
    await two_tenants(store, vault)
    tallies = Tallies()
    for tenant in ("acme", "default"):
        tallies.attempt(tenant, raw(1_000), NOW + (tenant == "acme") * 3_600_000, 5, True)
    await store.write(partial(append, tallies=tallies))
    await store.write(partial(tenants.mark_deleted, id="acme", now_ms=NOW))
    while (piece := await store.write(partial(remove_piece, now_ms=LATER)))[0] is Piece.MORE:
        pass
    assert piece == (Piece.LATER, "acme")
    await Roller(store, Telemetry()).roll_up()
    assert await pieces(store, LATER) == [Piece.MORE, Piece.LAST]
    left = await store.read(
        lambda connection: connection.execute(select(all_tables.rollups.c.tenant)).scalars().all()
    )
    assert set(left) == {"default", EVERYBODY}


async def test_removal_goes_on_where_it_ended(
    store: Store, second: Store, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process has begun, another ends; what comes while it is under way is found too."""
    monkeypatch.setattr(tenant_removal, "_LOOKED_AT", 3)
    await two_tenants(store, vault)
    await store.write(partial(tenants.mark_deleted, id="acme", now_ms=NOW))
    for _ in range(3):
        assert await store.write(partial(remove_piece, now_ms=LATER)) == (Piece.MORE, "acme")
    assert (await pieces(second, LATER))[-1] is Piece.LAST
    assert (await counts(store))["events"] == 3


async def test_a_marked_tenant_is_routed_to_no_more(store: Store, second: Store, vault: Vault) -> None:
    """From the mark on, no roster knows the tenant or its endpoints, and it gets no new ones."""
    await two_tenants(store, vault)
    await until(lambda: second.roster.revision == store.roster.revision)
    assert raw(2_000) in second.roster.endpoints
    await store.write(partial(tenants.mark_deleted, id="acme", now_ms=NOW))
    await until(lambda: second.roster.revision == store.roster.revision)
    for one in (store, second):
        assert one.roster.tenants.keys() == {"default", "@tellwire"}
        assert one.roster.endpoints.keys() == {raw(1_000)}
        assert one.roster.targets("acme", "order.paid", b"{}") == ()
    room = await store.write(
        lambda connection: endpoints.create(connection, vault, new_endpoint(3, tenant="acme"))
    )
    assert room is None
    again = await store.write(partial(tenants.mark_deleted, id="acme", now_ms=NOW + 9))
    assert again.state is TenantState.DELETING


async def test_an_id_is_free_again_when_everything_is_gone(store: Store, second: Store, vault: Vault) -> None:
    """Until then it is taken; and who slept meanwhile remembers no endpoint of the one who had it before."""
    await two_tenants(store, vault)
    await until(lambda: second.roster.revision == store.roster.revision)
    assert raw(2_000) in second.roster.endpoints
    await store.write(partial(tenants.mark_deleted, id="acme", now_ms=NOW))
    with pytest.raises(ConflictError, match="being deleted"):
        await store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW))
    await pieces(store, LATER)
    await store.write(partial(tenants.create, id="acme", name="New", now_ms=LATER))
    await until(lambda: second.roster.revision == store.roster.revision)
    for one in (store, second):
        assert one.roster.tenants.keys() == {"default", "@tellwire", "acme"}
        assert one.roster.endpoints.keys() == {raw(1_000)}
        assert {key.caller.tenant for key in one.roster.keys.values()} == {"default"}


async def test_what_was_committed_late_is_found_by_its_delivery(store: Store, vault: Vault) -> None:
    """An application that published before the mark may commit after the events were looked at: its event goes too."""
    await two_tenants(store, vault)
    await store.write(partial(tenants.mark_deleted, id="acme", now_ms=NOW))
    assert await store.write(partial(remove_piece, now_ms=LATER)) == (Piece.MORE, "acme")

    def commit_late(connection: Connection) -> None:
        store.hot.insert_events(connection, [event_row(5, tenant="acme")])
        store.hot.insert_deliveries(connection, [delivery_row(5, 5, raw(2_000))])

    await store.write(commit_late)
    assert (await pieces(store, LATER))[-1] is Piece.LAST
    assert (await counts(store))["deliveries"] == (await counts(store))["events"] == 3


async def test_what_is_locked_is_not_waited_for(
    backend: Backend, store: Store, vault: Vault, tmp_path: Path
) -> None:
    """An application that has published and not committed yet holds a row: all else goes on, and this goes later."""
    if backend.name != "postgres":
        pytest.skip("only there can others write meanwhile")
    await two_tenants(store, vault)
    await store.write(partial(tenants.mark_deleted, id="acme", now_ms=NOW))
    other = await asyncpg.connect(database_in(tmp_path))
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT 1 FROM endpoints WHERE id = $1 FOR KEY SHARE", raw(2_000))
        async with asyncio.timeout(30):
            while (await store.write(partial(remove_piece, now_ms=LATER)))[0] is Piece.MORE:
                pass
        assert (await counts(store))["endpoints"] == 2
        assert await store.write(partial(remove_piece, now_ms=LATER)) == (Piece.LATER, "acme")
        await transaction.commit()
    finally:
        await other.close()
    assert (await pieces(store, LATER))[-1] is Piece.LAST
    assert (await counts(store))["endpoints"] == 1


async def test_an_empty_row_is_forgotten_in_the_end(store: Store) -> None:
    """What tells other processes of a removal goes when it is older than the retention."""
    await store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW))
    await store.write(partial(tenants.mark_deleted, id="acme", now_ms=NOW))
    await pieces(store, LATER)

    def rows(connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(all_tables.tenants)).scalar_one()

    await store.write(partial(forget_removed, before_ms=LATER))
    assert await store.read(rows) == 3
    await store.write(partial(forget_removed, before_ms=LATER + 1))
    assert await store.read(rows) == 2


async def test_a_tenant_is_changed_and_its_limit_is_in_the_roster(store: Store) -> None:
    """Name, metadata and limits are stored, and publishing knows its own limit at once."""
    limits = TenantLimits(endpoints=2, payload_bytes=10)
    await store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW))
    changed = await store.write(
        partial(
            tenants.change, id="acme", fields={"name": "New", "metadata": {"plan": "gold"}, "limits": limits}
        )
    )
    assert (changed.name, changed.metadata, changed.limits) == ("New", {"plan": "gold"}, limits)
    assert store.roster.tenants["acme"].payload_bytes == 10
    with pytest.raises(NotFoundError):
        await store.write(partial(tenants.change, id="none", fields={"name": "x"}))
