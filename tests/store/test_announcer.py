"""What every store promises of operational events: they are there exactly if what they tell of is."""

import json

import pytest
from sqlalchemy import Connection, func, select, text

from tellwire.ids import IdMaker
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.model.operational import DeliveryExhausted, Happening
from tellwire.model.tenant import OPERATIONAL_TENANT
from tellwire.signing.vault import Vault
from tellwire.store import tenants
from tellwire.store.announcer import Announcer
from tellwire.store.store import Store
from tellwire.store.tables import fanout_pages

from .rows import NOW, add_endpoint, raw, stored_deliveries, stored_events

HAPPENING = Happening(
    "delivery.exhausted", DeliveryExhausted("dlv", "evt", "ep", "default", "order.paid", 3, 500, None)
)


class Still:
    """A clock that stands still."""

    def now_ms(self) -> int:
        return NOW


class Told:
    """An announcer, and what it had delivered."""

    def __init__(self, store: Store) -> None:
        self.lanes: set[bytes] = set()
        self.paged = False
        self.announcer = Announcer(store, Still(), IdMaker(Still().now_ms), self._deliver)

    def _deliver(self, lanes: set[bytes], paged: bool) -> None:
        self.lanes |= lanes
        self.paged |= paged

    def announce(self, connection: Connection, times: int = 1) -> None:
        self.announcer.announce(connection, [HAPPENING] * times)


async def test_the_tenant_is_there_from_the_start_and_not_listed(store: Store) -> None:
    """It is nobody's customer."""
    found = await store.read(lambda connection: tenants.get(connection, OPERATIONAL_TENANT))
    assert found.name == "Tellwire"
    listed = await store.read(lambda connection: tenants.list_page(connection, limit=10, cursor=None))
    assert [tenant.id for tenant in listed.data] == ["default"]


async def test_nobody_listens(store: Store, vault: Vault) -> None:
    """Without an endpoint of the tenant that wants the type, no event is made."""
    told = Told(store)
    await add_endpoint(store, vault, 1)
    assert not told.announcer.listens
    await store.write(told.announce)
    await add_endpoint(store, vault, 2, events=("lane.*",), tenant=OPERATIONAL_TENANT)
    assert told.announcer.listens
    await store.write(told.announce)
    told.announcer.told()
    assert (await stored_events(store), told.lanes) == ([], set())


async def test_those_who_listen_get_an_ordinary_event(store: Store, second: Store, vault: Vault) -> None:
    """Whichever process it happens in: one event, and a delivery to each that wants it, due at once."""
    for number, events in ((1, ("delivery.exhausted",)), (2, ("*",)), (3, ("endpoint.*",))):
        await add_endpoint(store, vault, number, events=events, tenant=OPERATIONAL_TENANT)
    await second.write(lambda _: None)
    told = Told(second)
    await second.write(told.announce)
    told.announcer.told()
    (event,) = await stored_events(store)
    assert (event["tenant"], event["type"], event["deliveries"]) == (
        OPERATIONAL_TENANT, "delivery.exhausted", 2,
    )  # fmt: skip
    assert json.loads(event["data"])["last_status_code"] == 500
    rows = await stored_deliveries(store)
    assert {row["endpoint_id"] for row in rows} == {raw(1), raw(2)} == told.lanes
    assert {(row["due_ms"], row["lease_token"]) for row in rows} == {(NOW, None)}


async def test_those_who_want_order_get_it(store: Store, vault: Vault) -> None:
    """However many listen: at an endpoint with order an operational event stands in line at once, like any other."""
    for number in range(25):
        settings = EndpointSettings(order="endpoint" if number == 3 else "key")
        await add_endpoint(store, vault, number, tenant=OPERATIONAL_TENANT, settings=settings)
    told = Told(store)
    await store.write(told.announce)
    told.announcer.told()
    (row,) = await stored_deliveries(store)
    assert (row["endpoint_id"], row["sequence"], told.lanes, told.paged) == (raw(3), "*", {raw(3)}, True)


async def test_a_transaction_that_fails_announces_nothing(store: Store, vault: Vault) -> None:
    """What did not happen is not told."""
    await add_endpoint(store, vault, 1, tenant=OPERATIONAL_TENANT)
    told = Told(store)

    def fail(connection: Connection) -> None:
        told.announce(connection)
        connection.execute(text("SELECT * FROM no_such_table"))

    with pytest.raises(Exception, match="no_such_table"):
        await store.write(fail)
    assert await stored_events(store) == await stored_deliveries(store) == []


async def test_many_who_listen_are_left_to_the_fanner(store: Store, vault: Vault) -> None:
    """However many there are, a transaction with many announcements stays small."""
    for number in range(25):
        await add_endpoint(store, vault, number, tenant=OPERATIONAL_TENANT)
    told = Told(store)
    await store.write(lambda connection: told.announce(connection, 100))
    told.announcer.told()
    assert (told.lanes, told.paged) == (set(), True)
    targets = await store.read(
        lambda connection: connection.execute(select(func.sum(fanout_pages.c.targets))).scalar_one()
    )
    assert (int(targets), await stored_deliveries(store)) == (2_500, [])
