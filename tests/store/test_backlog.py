"""What is pending, endpoint by endpoint."""

from tellwire.ids import ENDPOINT, encode
from tellwire.model.endpoint import EndpointState
from tellwire.signing.vault import Vault
from tellwire.store.backlog import by_endpoint
from tellwire.store.store import Store

from .rows import NOW, add_deliveries, add_endpoint, delivery_row, raw

MINUTE = 60_000


async def test_the_backlog_is_told_by_endpoint(store: Store, vault: Vault) -> None:
    """For each endpoint: what is pending, what is due and for how long, and what is stuck under a dead lease."""
    one, two = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    await add_endpoint(store, vault, 3)
    now = NOW + 10 * MINUTE
    await add_deliveries(
        store,
        [
            delivery_row(10, 110, one, due=NOW),
            delivery_row(11, 111, one, due=now + 1),  # a retry that is not due yet
            delivery_row(12, 112, one, due=NOW, token=7, until=now + MINUTE),  # in flight
            delivery_row(13, 113, one, due=NOW, token=7, until=now - 2 * MINUTE),  # nobody rescued it
            delivery_row(14, 114, one, due=NOW, token=7, until=now + 10**9),  # a clock was set back
            delivery_row(15, 115, two, due=now + 1),
        ],
    )
    first, second = await store.read(lambda connection: by_endpoint(connection, now, ()))

    assert first.endpoint_id == encode(ENDPOINT, raw(1))
    assert (first.tenant, first.state, first.reason) == ("default", EndpointState.ENABLED, None)
    assert (first.pending, first.due, first.oldest_ms, first.stuck) == (5, 4, 10 * MINUTE, 2)
    assert second.endpoint_id == encode(ENDPOINT, raw(2))
    assert (second.pending, second.due, second.oldest_ms, second.stuck) == (1, 0, 0, 0)


async def test_an_empty_store_has_no_backlog(store: Store) -> None:
    """Nothing pending, nothing told."""
    assert await store.read(lambda connection: by_endpoint(connection, NOW, ())) == []
