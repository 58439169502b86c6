"""Fan-out: which events become deliveries at once, and which become pages."""

import hashlib

import pytest

from tellwire.errors import InvalidInputError
from tellwire.ids import IdMaker, time_ms
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import NewEvent
from tellwire.model.subscription import Subscription
from tellwire.policy.subscribing import compile_subscriptions
from tellwire.publish.fanout import AT_ONCE, Accepted, Fanout, Lease, fingerprint
from tellwire.store.roster import LiveEndpoint, LiveTenant, Roster

NOW = 1_700_000_000_000


def fanout_to(
    endpoints: int,
    *,
    order: str | None = None,
    lease: Lease | None = None,
    state: EndpointState = EndpointState.ENABLED,
    exclusive: bool = False,
) -> Fanout:
    """A transaction that publishes to so many endpoints."""
    new_id = IdMaker(lambda: NOW)
    wants = compile_subscriptions([Subscription(("*",))])
    live = {
        id: LiveEndpoint(
            id, "ep", "default", "https://a.example", wants, state, {}, (), exclusive=exclusive, order=order
        )
        for id in (new_id() for _ in range(endpoints))
    }
    roster = Roster(1, {"default": LiveTenant(0)}).with_changes(2, {}, live, {})
    return Fanout(roster, {}, now_ms=NOW, new_id=new_id, lease=lease)


def fanned_out(endpoints: int, events: int, *, order: str | None = None, key: str | None = None) -> Fanout:
    """A transaction in which so many events were published to so many endpoints."""
    fanout = fanout_to(endpoints, order=order)
    accepted = fanout.accept([NewEvent("a.b", b"{}", ordering_key=key)] * events, listed=True)
    assert isinstance(accepted, Accepted)
    assert [receipt.deliveries for receipt in accepted.receipts] == [endpoints] * events
    return fanout


@pytest.mark.parametrize(("endpoints", "pages"), [(AT_ONCE, []), (AT_ONCE + 1, [AT_ONCE, 1])])
def test_an_event_for_more_than_one_page_is_stored_in_pages(endpoints: int, pages: list[int]) -> None:
    """Up to the threshold there are deliveries, above it pages, each as large as the threshold but the last."""
    fanout = fanned_out(endpoints, 1)
    assert [row.targets for row in fanout.page_rows] == pages
    assert len(fanout.delivery_rows) == (0 if pages else endpoints)
    assert [len(row.endpoint_ids) for row in fanout.page_rows] == [16 * targets for targets in pages]


def test_a_transaction_makes_a_bounded_number_of_deliveries() -> None:
    """A whole batch of events for a hundred endpoints each does not become 50,000 rows at once."""
    fanout = fanned_out(100, 500)
    assert len(fanout.delivery_rows) == 5_000
    assert len(fanout.delivery_rows) + sum(row.targets for row in fanout.page_rows) == 50_000


def test_few_targets_are_never_paged() -> None:
    """An event for a few endpoints becomes deliveries at once, however many come with it."""
    assert not fanned_out(20, 500).page_rows


@pytest.mark.parametrize(
    ("order", "key", "sequence"),
    [("endpoint", None, "*"), ("endpoint", "k", "*"), ("key", "k", "=k"), ("key", "*", "=*")],
)
def test_what_has_an_order_stands_in_line_at_once(order: str, key: str | None, sequence: str) -> None:
    """Its place is that of publishing, so it is never fanned out later, however many endpoints there are."""
    fanout = fanned_out(AT_ONCE + 1, 2, order=order, key=key)
    assert (fanout.delivery_rows, fanout.page_rows) == ([], [])
    assert {row.sequence for row in fanout.ordered_rows} == {sequence}
    assert len(fanout.ordered_rows) == 2 * (AT_ONCE + 1)


@pytest.mark.parametrize(("order", "key"), [(None, "k"), ("key", None)])
def test_what_has_no_order_waits_for_nobody(order: str | None, key: str | None) -> None:
    """Without an order a key means nothing, and an order by key means nothing to an event without one."""
    fanout = fanned_out(1, 2, order=order, key=key)
    assert (len(fanout.delivery_rows), fanout.ordered_rows) == (2, [])


@pytest.mark.parametrize(
    ("state", "order", "exclusive", "quiet"),
    [
        (EndpointState.PAUSED, None, False, True),
        (EndpointState.ENABLED, None, False, False),
        (EndpointState.ENABLED, "endpoint", False, True),
        (EndpointState.ENABLED, "endpoint", True, False),
    ],
)
def test_others_need_not_hear_at_once_of_what_is_fetched_here_or_by_nobody(
    state: EndpointState, order: str | None, exclusive: bool, quiet: bool
) -> None:
    """What stands in line is claimed here as soon as it may be, and what waits at a paused endpoint by nobody. Whether
    the backlog of a lane is, the lanes say; and a lane that is one process's alone may be another's."""
    lease = Lease(7, NOW + 60_000, lambda endpoint: False)
    fanout = fanout_to(1, order=order, lease=lease, state=state, exclusive=exclusive)
    fanout.accept([NewEvent("a.b", b"{}")], listed=True)
    rows = fanout.all_deliveries
    assert [row.lease_token for row in rows] == [None]
    assert fanout.quiet == ({rows[0].endpoint_id} if quiet else set())


def test_an_ordering_key_is_part_of_what_an_idempotency_key_stands_for() -> None:
    """Events that differ in it are not the same; without one, the digest is what it was before there were such keys."""
    plain, one, two = (fingerprint(NewEvent("a.b", b"{}", ordering_key=key)) for key in (None, "1", "2"))
    assert len({plain, one, two}) == 3
    digest = hashlib.blake2b(b"{}\0a.b\0None", digest_size=32, person=b"tellwire event")
    assert plain == digest.digest()


DAY = 86_400_000


@pytest.mark.parametrize(
    ("times", "refused"),
    [
        ({"deliver_ms": NOW + 30 * DAY}, None),
        ({"deliver_ms": NOW + 30 * DAY + 1}, "deliver_at"),
        ({"deliver_ms": NOW - DAY}, None),
        ({"expires_ms": NOW + 1}, None),
        ({"expires_ms": NOW}, "expires_at"),
        ({"expires_ms": NOW + 60 * DAY, "deliver_ms": NOW + 30 * DAY}, None),
    ],
)
def test_how_far_ahead_the_times_of_an_event_may_lie(times: dict[str, int], refused: str | None) -> None:
    """Up to 30 days for what is delivered later, to the millisecond; what has expired is not worth publishing."""
    found = fanout_to(1).accept([NewEvent("a.b", b"{}", **times)], listed=False)  # type: ignore[arg-type] # times only
    if refused is None:
        assert isinstance(found, Accepted)
    else:
        assert isinstance(found, InvalidInputError)
        assert [error.loc for error in found.errors] == [(refused,)]


@pytest.mark.parametrize(("ahead_ms", "later"), [(-1, False), (0, False), (1, True)])
def test_what_is_to_be_delivered_later_is_due_later(ahead_ms: int, later: bool) -> None:
    """And nobody waits for it in line: it stands where it is due."""
    for order in (None, "endpoint"):
        fanout = fanout_to(1, order=order)
        fanout.accept([NewEvent("a.b", b"{}", deliver_ms=NOW + ahead_ms)], listed=False)
        (row,) = fanout.all_deliveries
        assert row.due_ms == NOW + (ahead_ms if later else 0)
        assert fanout.later_ms == (NOW + ahead_ms if later else None)
        if order is not None:
            assert time_ms(row.id) == row.due_ms
