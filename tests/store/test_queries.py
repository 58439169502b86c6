"""Queries by noun: pages, changes by hand, deletion, pruning."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, select

from tellwire.errors import ConflictError, InvalidInputError, NotFoundError
from tellwire.ids import DELIVERY, ENDPOINT, EVENT, encode
from tellwire.model.delivery import State
from tellwire.model.page import Page
from tellwire.signing.vault import Vault
from tellwire.store import deliveries, endpoints, events, tenants
from tellwire.store.deliveries import Filters
from tellwire.store.pruning import expire_payloads, prune
from tellwire.store.store import Store
from tellwire.store.tables import events as event_table

from .rows import (
    NOW,
    add_deliveries,
    add_endpoint,
    attempt_row,
    count_attempts,
    count_events,
    delivery,
    delivery_row,
    event_row,
    outcome,
    raw,
)

DAY = 86_400_000


def dlv(number: int) -> str:
    return encode(DELIVERY, raw(number))


async def every_page(turn: Callable[[str | None], Awaitable[Page[Any]]]) -> list[list[Any]]:
    """All pages of a list, first to last."""
    pages: list[list[Any]] = []
    cursor: str | None = None
    while True:
        page = await turn(cursor)
        pages.append(page.data)
        if page.next is None:
            return pages
        cursor = page.next


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9, 10])
async def test_pages_of_deliveries_hold_each_once_newest_first(
    store: Store, vault: Vault, count: int
) -> None:
    """Following the cursors gives every delivery exactly once, newest first, in pages of the asked size."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10 + n, 100 + n, endpoint) for n in range(count)])

    async def turn(cursor: str | None) -> Page[Any]:
        return await store.read(
            lambda connection: deliveries.list_page(connection, Filters(), limit=3, cursor=cursor, now_ms=NOW)
        )

    pages = await every_page(turn)
    assert [one.id for page in pages for one in page] == [dlv(10 + n) for n in reversed(range(count))]
    assert [len(page) for page in pages[:-1]] == [3] * (len(pages) - 1)


async def test_pages_stay_whole_while_events_are_published(store: Store) -> None:
    """What is published while somebody turns the pages neither repeats nor hides what was there before."""
    await store.write(
        lambda connection: store.hot.insert_events(connection, [event_row(n) for n in range(10, 20)])
    )
    seen: list[str] = []
    cursor: str | None = None
    for turn in range(10):
        page = await store.read(partial(events.list_page, limit=4, cursor=cursor))
        seen += [event.id for event in page.data]
        await store.write(partial(_insert_event, store, 100 + turn))
        if page.next is None:
            break
        cursor = page.next
    assert seen == [encode(EVENT, raw(n)) for n in reversed(range(10, 20))]


def _insert_event(store: Store, number: int, connection: Connection) -> None:
    store.hot.insert_events(connection, [event_row(number)])


async def test_tenants_and_endpoints_have_pages_too(store: Store, vault: Vault) -> None:
    """Tenants come by id and endpoints newest first; a deleted endpoint is not listed."""
    for name in ("acme", "zebra", "middle"):
        await store.write(partial(tenants.create, id=name, name=name, now_ms=NOW))
    for number in (1, 2, 3):
        await add_endpoint(store, vault, number)
    await store.write(partial(endpoints.delete, id=encode(ENDPOINT, raw(2)), now_ms=NOW))
    tenant_pages = await every_page(
        lambda cursor: store.read(partial(tenants.list_page, limit=2, cursor=cursor))
    )
    assert [[one.id for one in page] for page in tenant_pages] == [["acme", "default"], ["middle", "zebra"]]
    endpoint_pages = await every_page(
        lambda cursor: store.read(
            partial(endpoints.list_page, vault=vault, tenant="default", limit=1, cursor=cursor)
        )
    )
    assert [one.id for page in endpoint_pages for one in page] == [encode(ENDPOINT, raw(n)) for n in (3, 1)]


@pytest.mark.parametrize("cursor", ["", "%%%", "é", "A", "AAAA", "x" * 500])
async def test_a_made_up_cursor_breaks_nothing(store: Store, cursor: str) -> None:
    """A cursor that no list gave out is refused or leads somewhere, but never ends in a fault."""
    with suppress(InvalidInputError):
        page = await store.read(partial(events.list_page, limit=3, cursor=cursor))
        assert page.next is None


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", {"order.paid", "order.item.added", "user.created", "order_x.paid"}),
        ("order.paid", {"order.paid"}),
        ("order.*", {"order.paid", "order.item.added"}),
        ("*.paid", {"order.paid", "order_x.paid"}),
        ("*.*.added", {"order.item.added"}),
        ("user.*", {"user.created"}),
        ("none", set()),
    ],
)
async def test_lists_are_narrowed_by_patterns_like_subscriptions(
    store: Store, pattern: str, found: set[str]
) -> None:
    """A type pattern finds in SQL what it would match in a subscription."""
    types = ["order.paid", "order.item.added", "user.created", "order_x.paid"]
    rows = [event_row(n, type=type) for n, type in enumerate(types)]
    await store.write(lambda connection: store.hot.insert_events(connection, rows))
    page = await store.read(partial(events.list_page, type=pattern, limit=10, cursor=None))
    assert {event.type for event in page.data} == found


async def test_deliveries_are_narrowed_by_endpoint_event_state_and_time(store: Store, vault: Vault) -> None:
    """Each filter narrows, together they narrow more, and ``until`` is exclusive."""
    one, two = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    rows = [delivery_row(10 + n, 100 + n // 2, (one, two)[n % 2], token=1, until=NOW + 9) for n in range(6)]
    await add_deliveries(store, [row._replace(created_ms=NOW + n) for n, row in enumerate(rows)])
    await store.write(lambda connection: store.hot.record(connection, [outcome(12, 1)], [attempt_row(12)]))

    async def ids(filters: Filters) -> set[str]:
        page = await store.read(
            partial(deliveries.list_page, filters=filters, limit=50, cursor=None, now_ms=NOW)
        )
        return {one.id for one in page.data}

    endpoint = encode(ENDPOINT, one)
    assert await ids(Filters(endpoint_id=endpoint)) == {dlv(10), dlv(12), dlv(14)}
    assert await ids(Filters(endpoint_id=endpoint, state=State.PENDING)) == {dlv(10), dlv(14)}
    assert await ids(Filters(event_id=encode(EVENT, raw(101)))) == {dlv(12), dlv(13)}
    assert await ids(Filters(since_ms=NOW + 1, until_ms=NOW + 3)) == {dlv(11), dlv(12)}
    assert await ids(Filters(tenant="nobody")) == set()


async def test_a_retry_by_hand_begins_a_new_schedule(store: Store, vault: Vault) -> None:
    """Ended or pending, a delivery that is retried is due now, at the first step, and keeps its count of attempts."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 100, endpoint, token=1, until=NOW + 9)])
    await store.write(
        lambda connection: store.hot.record(connection, [outcome(10, 1, State.EXHAUSTED)], [attempt_row(10)])
    )
    again = await store.write(partial(deliveries.retry, roster=store.roster, id=dlv(10), now_ms=NOW + 50))
    assert (again.state, again.attempt_count, again.finished_at) == (State.PENDING, 1, None)
    row = await delivery(store, 10)
    assert (row["due_ms"], row["schedule_step"], row["trigger"]) == (NOW + 50, 0, "manual")


async def test_a_move_by_hand_ends_the_lease(store: Store, vault: Vault) -> None:
    """What is retried or cancelled by hand while in flight gives nothing on the answer that is still to come."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(
        store, [delivery_row(n, 100, endpoint, token=n, until=NOW + 60_000) for n in (10, 11)]
    )
    await store.write(partial(deliveries.retry, roster=store.roster, id=dlv(10), now_ms=NOW))
    await store.write(partial(deliveries.cancel, id=dlv(11), now_ms=NOW))
    held = await store.write(
        lambda connection: store.hot.record(
            connection, [outcome(10, 10), outcome(11, 11)], [attempt_row(10), attempt_row(11)]
        )
    )
    assert held == set()
    assert (await delivery(store, 10))["state"] == 0
    assert (await delivery(store, 11))["state"] == 3


async def test_what_has_ended_cannot_be_cancelled(store: Store, vault: Vault) -> None:
    """A cancelled delivery can be neither cancelled again nor retried."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 100, endpoint)])
    await store.write(partial(deliveries.cancel, id=dlv(10), now_ms=NOW))
    for move in (deliveries.cancel, partial(deliveries.retry, roster=store.roster)):
        with pytest.raises(ConflictError, match="cancelled"):
            await store.write(partial(move, id=dlv(10), now_ms=NOW))
    with pytest.raises(NotFoundError):
        await store.write(partial(deliveries.cancel, id=dlv(99), now_ms=NOW))


async def test_deleting_an_endpoint_cancels_what_is_pending(store: Store, vault: Vault) -> None:
    """Pending deliveries of a deleted endpoint end as cancelled; those that had ended stay as they were."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(
        store, [delivery_row(10, 100, endpoint), delivery_row(11, 101, endpoint, token=1, until=NOW + 9)]
    )
    await store.write(lambda connection: store.hot.record(connection, [outcome(11, 1)], [attempt_row(11)]))
    await store.write(partial(endpoints.delete, id=encode(ENDPOINT, endpoint), now_ms=NOW + 7))
    row = await delivery(store, 10)
    assert (row["state"], row["finished_ms"], row["due_ms"]) == (3, NOW + 7, None)
    assert (await delivery(store, 11))["state"] == 1


async def test_deliveries_of_a_deleted_endpoint_cannot_be_retried(store: Store, vault: Vault) -> None:
    """There is nowhere to send to: a retry is refused, rather than left pending for ever."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(11, 101, endpoint, token=1, until=NOW + 9)])
    await store.write(
        lambda connection: store.hot.record(connection, [outcome(11, 1, State.EXHAUSTED)], [attempt_row(11)])
    )
    await store.write(partial(endpoints.delete, id=encode(ENDPOINT, endpoint), now_ms=NOW))
    with pytest.raises(ConflictError, match="deleted"):
        await store.write(partial(deliveries.retry, roster=store.roster, id=dlv(11), now_ms=NOW))
    assert await store.read(partial(deliveries.count_due, now_ms=NOW)) == 0


async def test_due_counts_what_could_be_sent_now(store: Store, vault: Vault) -> None:
    """Due and in flight count; waiting for a retry, ended, and of endpoints that are switched off do not."""
    on, off = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    await store.write(
        partial(
            endpoints.change, vault=vault, id=encode(ENDPOINT, off), fields={"state": "paused"}, now_ms=NOW
        )
    )
    await add_deliveries(
        store,
        [
            delivery_row(10, 100, on),
            delivery_row(11, 101, on, token=1, until=NOW + 60_000),
            delivery_row(12, 102, on, due=NOW + 1),
            delivery_row(13, 103, off),
        ],
    )
    assert await store.read(partial(deliveries.count_due, now_ms=NOW)) == 2


async def test_pruning_removes_old_events_with_all_that_is_theirs(store: Store, vault: Vault) -> None:
    """Events older than the bound go with their deliveries and attempts, oldest first, at most ``limit`` at a time."""
    endpoint = await add_endpoint(store, vault, 1)
    rows = [delivery_row(10 + n, 100 + n, endpoint, token=1, until=NOW + 9) for n in range(7)]
    await add_deliveries(store, rows)
    await store.write(
        lambda connection: store.hot.record(
            connection, [outcome(10 + n, 1) for n in range(7)], [attempt_row(10 + n) for n in range(7)]
        )
    )
    assert await store.write(partial(prune, before_ms=NOW, limit=3)) == 0
    assert await store.write(partial(prune, before_ms=NOW + 1, limit=3)) == 3
    kept = await store.read(lambda connection: set(connection.execute(select(event_table.c.id)).scalars()))
    assert kept == {raw(100 + n) for n in range(3, 7)}
    assert await count_attempts(store) == 4
    assert await store.write(partial(prune, before_ms=NOW + 1, limit=9)) == 4
    assert (await count_events(store), await count_attempts(store)) == (0, 0)


async def test_pruning_never_removes_what_is_pending(store: Store, vault: Vault) -> None:
    """An event with a pending delivery stays with all its deliveries, however old it is."""
    endpoint, other = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    await add_deliveries(
        store,
        [
            delivery_row(10, 100, endpoint),
            delivery_row(11, 100, other, token=1, until=NOW + 9),
            delivery_row(12, 101, endpoint, token=1, until=NOW + 9),
            delivery_row(13, 102, endpoint, token=1, until=NOW + 9),
        ],
    )
    ended = [outcome(11, 1), outcome(13, 1, State.EXHAUSTED)]
    await store.write(lambda connection: store.hot.record(connection, ended, [attempt_row(11)]))
    assert await store.write(partial(prune, before_ms=NOW + 400 * DAY, limit=100)) == 1
    kept = await store.read(lambda connection: set(connection.execute(select(event_table.c.id)).scalars()))
    assert kept == {raw(100), raw(101)}
    assert (await delivery(store, 11))["state"] == 1
    assert await count_attempts(store) == 1


async def test_payloads_expire_before_their_events(store: Store, vault: Vault) -> None:
    """What is finished loses its data and shows that; what is pending keeps it; each is looked at once."""
    endpoint = await add_endpoint(store, vault, 1)
    rows = [delivery_row(10 + n, 100 + n, endpoint, token=1, until=NOW + 9) for n in range(3)]
    await add_deliveries(store, rows)
    ended = [outcome(10, 1), outcome(12, 1)]
    await store.write(lambda connection: store.hot.record(connection, ended, []))
    expire = partial(expire_payloads, before_ms=NOW + 1, limit=2)
    assert await store.write(partial(expire_payloads, after=b"", before_ms=NOW, limit=9)) is None
    assert await store.write(partial(expire, after=b"")) == raw(101)
    assert await store.write(partial(expire, after=raw(101))) == raw(102)
    assert await store.write(partial(expire, after=raw(102))) is None
    found = [
        await store.read(partial(events.get, id=encode(EVENT, raw(100 + number)))) for number in range(3)
    ]
    assert [(event.data, event.data_expired) for event in found] == [
        (None, True),
        (b'{"n":1}', False),
        (None, True),
    ]
    listed = await store.read(lambda connection: events.list_page(connection, limit=9, cursor=None))
    assert [event.data_expired for event in listed.data] == [True, False, True]


async def test_without_its_data_an_event_is_not_sent_again(store: Store, vault: Vault) -> None:
    """A retry by hand of a delivery whose event has lost its data is refused, and says why."""
    endpoint = await add_endpoint(store, vault, 1)
    await add_deliveries(store, [delivery_row(10, 100, endpoint, token=1, until=NOW + 9)])
    await store.write(lambda connection: store.hot.record(connection, [outcome(10, 1)], []))
    await store.write(partial(expire_payloads, after=b"", before_ms=NOW + 1, limit=9))
    with pytest.raises(ConflictError, match="expired"):
        await store.write(
            partial(deliveries.retry, roster=store.roster, id=encode(DELIVERY, raw(10)), now_ms=NOW)
        )
    assert (await delivery(store, 10))["state"] == 1
