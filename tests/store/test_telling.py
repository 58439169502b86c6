"""What a store tells of itself: its commits, stage by stage, and the use of its connections."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tellwire.errors import ConflictError
from tellwire.signing.vault import Vault
from tellwire.store import tenants
from tellwire.store.store import Store
from tellwire.telemetry import Fact, Telemetry, TransactionCommitted

from .backends import Backend
from .rows import NOW, add_deliveries, add_endpoint, delivery_row


async def told_store(backend: Backend, vault: Vault, folder: Path) -> tuple[Store, list[Fact]]:
    """An open store, and the list of what it tells."""
    telemetry, facts = Telemetry(), list[Fact]()
    telemetry.subscribe(facts.append)
    store = backend.make(folder, vault)
    store.tell(telemetry)
    await store.open()
    facts.clear()
    return store, facts


async def test_a_commit_is_told_stage_by_stage(backend: Backend, vault: Vault, tmp_path: Path) -> None:
    """A fact for each transaction: who wrote how much, and how long it and all of it took; failures are not told."""
    store, facts = await told_store(backend, vault, tmp_path)
    done: list[Any] = []

    def run(connection: Connection, items: list[Any]) -> list[Any]:
        store.hot.ready_lanes(connection)
        return items

    write = store.batched(run, lambda items, outcomes: done.extend(outcomes), max_weight=100, stage="record")
    for item in range(7):
        write.submit(item)
    await store.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))
    with pytest.raises(ConflictError):
        await store.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))
    await store.close()

    committed = [fact for fact in facts if isinstance(fact, TransactionCommitted)]
    shares = [share for fact in committed for share in fact.shares]
    assert done == list(range(7))
    assert sum(share.items for share in shares if share.stage == "record") == 7
    assert "change" in {share.stage for share in shares}
    assert all(share.duration_s > 0 for share in shares)
    assert all(fact.duration_s >= sum(share.duration_s for share in fact.shares) for fact in committed)


async def test_ready_lanes_can_be_read_beside_the_writer(store: Store, vault: Vault) -> None:
    """Whoever looks on asks for what is ready on a connection that only reads."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 11, endpoint, due=NOW - 5), delivery_row(12, 13, endpoint)])
    assert await store.read(store.hot.ready_lanes) == [(endpoint, NOW - 5)]


async def test_connections_are_counted(store: Store) -> None:
    """Where there are pools, the reader that asks is seen in one; none is in use afterwards."""
    used = await store.read(lambda connection: {pool.name: pool.used for pool in store.connections})
    assert used in ({}, {"read": 1, "write": 0})
    assert all(0 == pool.used < pool.most for pool in store.connections)
