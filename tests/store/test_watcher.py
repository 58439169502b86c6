"""Endpoints that fail for days, as several processes see them: warned of, disabled, given time anew."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import update

from tellwire.clock import Clock, rfc3339, to_datetime
from tellwire.deliver.watcher import Watcher
from tellwire.ids import ENDPOINT, IdMaker, encode
from tellwire.model.audit import AuditEntry
from tellwire.model.endpoint import Endpoint, EndpointState
from tellwire.model.tenant import OPERATIONAL_TENANT
from tellwire.signing.vault import Vault
from tellwire.store import audit, endpoints, failing, tenants
from tellwire.store.announcer import Announcer
from tellwire.store.audit import AuditFilters, NewEntry
from tellwire.store.store import Store
from tellwire.store.tables import endpoints as endpoint_table
from tellwire.telemetry import EndpointDisabled, EndpointFailing, Fact, Telemetry

from .rows import NOW, add_endpoint, raw, stored_deliveries, stored_events

HOUR = 3_600_000
ID = encode(ENDPOINT, raw(1))


class Calendar:
    """A clock that is set by hand."""

    ms = NOW

    def now_ms(self) -> int:
        return self.ms


def announcer_of(store: Store, clock: Clock) -> Announcer:
    return Announcer(store, clock, IdMaker(clock.now_ms), lambda lanes, paged: None)


class Days:
    """Processes on one database over days: ``attempt`` is made by one of them, and then all of them look."""

    def __init__(self, *stores: Store, days: int = 5) -> None:
        self.facts: list[Fact] = []
        self.calendar = Calendar()
        self.telemetry = telemetry = Telemetry()
        telemetry.subscribe(self.facts.append)
        self.watchers = [
            Watcher(
                store,
                self.calendar,
                IdMaker(self.calendar.now_ms),
                telemetry,
                days,
                announcer_of(store, self.calendar),
            )
            for store in stores
        ]

    async def attempt(self, hours: float, succeeded: bool, by: int = 0, endpoint: int = 1) -> None:
        self.calendar.ms = NOW + int(hours * HOUR)
        self.watchers[by].ended(raw(endpoint), self.calendar.ms, succeeded)
        for watcher in self.watchers:
            await watcher.look()

    @property
    def warnings(self) -> list[tuple[int, int]]:
        """Hours of failing, and hours that are left, of each warning."""
        told = [fact for fact in self.facts if isinstance(fact, EndpointFailing)]
        return [(fact.failing_ms // HOUR, fact.left_ms // HOUR) for fact in told]

    @property
    def disabled(self) -> list[str]:
        return [fact.endpoint_id for fact in self.facts if isinstance(fact, EndpointDisabled)]


async def stored(store: Store, vault: Vault) -> Endpoint:
    return await store.read(lambda connection: endpoints.get(connection, vault, ID))


async def audited(store: Store) -> list[AuditEntry]:
    look = partial(audit.list_page, filters=AuditFilters(), limit=50, cursor=None)
    return (await store.read(look)).data


async def test_five_days_of_failures_disable_after_warnings(
    store: Store, second: Store, vault: Vault
) -> None:
    """Whichever process sees the failures, each warning and the end are told once, and the endpoint says why, as does
    the audit log."""
    await store.write(partial(tenants.create, id="acme", name="Acme", now_ms=NOW))
    await add_endpoint(store, vault, 1, tenant="acme")
    days = Days(store, second)
    for hours in range(0, 120, 10):
        await days.attempt(hours, False, by=hours // 10 % 2)
    assert days.warnings == [(30, 90), (60, 60), (90, 30)]
    assert (await stored(store, vault)).state is EndpointState.ENABLED
    assert await audited(store) == []
    await days.attempt(120, False, by=1)
    assert days.disabled == [ID]
    found = await stored(store, vault)
    assert (found.state, found.state_reason) == ("disabled", "every attempt has failed for 5 days")
    await days.attempt(121, False)
    assert (days.disabled, len(days.warnings)) == ([ID], 3)
    (entry,) = await audited(second)
    assert entry == AuditEntry(
        id=entry.id,
        at=to_datetime(NOW + 120 * HOUR),
        action="endpoint.disabled",
        actor="tellwire",
        tenant="acme",
        subject=ID,
        request_id=None,
        before={"state": "enabled", "state_reason": None},
        after={"state": "disabled", "state_reason": "every attempt has failed for 5 days"},
    )


async def test_a_success_begins_anew(store: Store, second: Store, vault: Vault) -> None:
    """Seen by any process, and also where failures follow it within the same minute."""
    await add_endpoint(store, vault, 1)
    days = Days(store, second)
    await days.attempt(0, False)
    await days.attempt(100, True, by=1)
    await days.attempt(110, False)
    days.watchers[0].ended(raw(1), NOW + 120 * HOUR, True)
    await days.attempt(125, False)
    await days.attempt(154, False)
    assert (days.warnings, days.disabled) == ([], [])
    await days.attempt(155, False, by=1)
    assert days.warnings == [(30, 90)]


async def test_silence_disables_nobody(store: Store, vault: Vault) -> None:
    """An endpoint that failed once and got nothing since stays as it is; others have their own time."""
    await add_endpoint(store, vault, 1)
    await add_endpoint(store, vault, 2)
    days = Days(store)
    await days.attempt(0, False)
    for hours in range(0, 200, 20):
        await days.attempt(hours, hours % 40 == 0, endpoint=2)
    assert (days.warnings, days.disabled) == ([], [])


async def test_people_give_it_all_the_time_once_more(store: Store, vault: Vault) -> None:
    """Enabled again or with another URL, it fails from then on; other changes leave it as it is."""
    await add_endpoint(store, vault, 1)
    days = Days(store)
    await days.attempt(0, False)
    await days.attempt(100, False)
    for fields in ({"state": EndpointState.ENABLED}, {"url": "https://other.example/"}):
        await store.write(partial(endpoints.change, vault=vault, id=ID, fields=fields, now_ms=NOW))
        await days.attempt(130, False)
    assert (len(days.warnings), days.disabled) == (1, [])
    await store.write(lambda c: endpoints.change(c, vault, ID, {"description": "x"}, now_ms=NOW))
    await days.attempt(251, False)
    await days.attempt(252, False)
    assert (len(days.warnings), days.disabled) == (2, [ID])


async def test_it_is_announced_in_the_transaction_that_notes_it(
    store: Store, second: Store, vault: Vault
) -> None:
    """A warning, the recovery after one and the end are one event each, whoever saw the attempts."""
    await add_endpoint(store, vault, 1)
    await add_endpoint(store, vault, 2, tenant=OPERATIONAL_TENANT)
    await second.write(lambda _: None)
    days = Days(store, second)
    await days.attempt(0, False)
    await days.attempt(1, True)
    await days.attempt(2, False)
    await days.attempt(32, False, by=1)
    await days.attempt(33, True, by=1)
    await days.attempt(40, False)
    await days.attempt(130, False)
    await days.attempt(161, False)
    told = [(row["type"], json.loads(row["data"])) for row in await stored_events(store)]
    assert [type for type, _ in told] == [
        "endpoint.failing", "endpoint.recovered", "endpoint.failing", "endpoint.disabled"
    ]  # fmt: skip
    assert told[0][1] == {
        "endpoint_id": ID, "tenant": "default", "url": "https://receiver.example/hook",
        "failing_for_s": 30 * 3600, "disabled_in_s": 90 * 3600,
    }  # fmt: skip
    assert told[1][1]["failing_since"] == rfc3339(NOW + 2 * HOUR)
    assert (told[3][1]["actor"], told[3][1]["reason"]) == ("tellwire", "every attempt has failed for 5 days")


async def test_trouble_of_those_who_listen_is_announced_to_nobody(store: Store, vault: Vault) -> None:
    """Warnings of an endpoint of Tellwire's own tenant would be for itself; that it was disabled is for the others."""
    for number in (1, 2):
        await add_endpoint(store, vault, number, tenant=OPERATIONAL_TENANT)
    days = Days(store)
    for hours in (0, 40, 121):
        await days.attempt(hours, False)
    assert [row["type"] for row in await stored_events(store)] == ["endpoint.disabled"]
    assert len(await stored_deliveries(store)) == 1


async def test_it_can_be_switched_off(store: Store, vault: Vault) -> None:
    """With no days, nothing is told or disabled, and nothing piles up."""
    await add_endpoint(store, vault, 1)
    days = Days(store, days=0)
    for hours in (0, 1_000, 2_000):
        await days.attempt(hours, False)
    assert days.facts == []
    assert days.watchers[0]._failed == {}


class Interrupted(Watcher):
    """Something happens between its look and what follows from that."""

    meanwhile: Callable[[], Awaitable[object]]

    async def _disable(self, id: bytes, since_ms: int, failing_ms: int) -> None:
        await self.meanwhile()
        await super()._disable(id, since_ms, failing_ms)


@pytest.mark.parametrize("what", ["nothing", "a success", "another URL", "a pause"])
async def test_an_endpoint_that_is_well_at_the_last_moment_stays(
    store: Store, second: Store, vault: Vault, what: str
) -> None:
    """What other processes see, and what people change, between the look and the disabling counts."""
    await add_endpoint(store, vault, 1)
    days = Days(store, second)
    last = Interrupted(
        store,
        days.calendar,
        IdMaker(days.calendar.now_ms),
        days.telemetry,
        5,
        announcer_of(store, days.calendar),
    )

    async def change(fields: dict[str, Any]) -> None:
        await second.write(partial(endpoints.change, vault=vault, id=ID, fields=fields, now_ms=NOW))

    async def meanwhile() -> None:
        if what == "a success":
            days.watchers[1].ended(raw(1), days.calendar.ms, True)
            await days.watchers[1].look()
        elif what == "another URL":
            await change({"url": "https://other.example/"})
        elif what == "a pause":
            await change({"state": EndpointState.PAUSED})

    last.meanwhile = meanwhile
    for hours in range(0, 120, 10):
        await days.attempt(hours, False)
    last.ended(raw(1), NOW + 121 * HOUR, False)
    await last.look()
    assert days.disabled == ([ID] if what == "nothing" else [])
    assert ((await stored(store, vault)).state is EndpointState.DISABLED) == (what == "nothing")
    assert len(await audited(store)) == (what == "nothing")


async def test_no_endpoint_is_disabled_without_its_entry(store: Store, vault: Vault) -> None:
    """Where the entry cannot be written, the endpoint stays as it is, and is disabled with the next failure."""
    await add_endpoint(store, vault, 1)
    taken = NewEntry(raw(9), NOW, "key.created", "admin", None, "key_1", None, None, {})
    await store.write(partial(audit.add, entry=taken))
    days = Days(store)
    given = iter([raw(9), raw(10)])
    days.watchers[0]._new_id = given.__next__
    await days.attempt(0, False)
    await days.attempt(40, False)
    with pytest.raises(Exception, match=r"UNIQUE|unique"):
        await days.attempt(121, False)
    assert (await stored(store, vault)).state is EndpointState.ENABLED
    assert (days.disabled, len(await audited(store))) == ([], 1)
    await days.attempt(122, False)
    assert (days.disabled, len(await audited(store))) == ([ID], 2)


async def test_one_warning_is_told_by_one_process(store: Store, second: Store, vault: Vault) -> None:
    """Whoever notes it first tells it; the next one is another."""
    await add_endpoint(store, vault, 1)
    await store.write(lambda c: failing.note(c, set(), {raw(1): (NOW, NOW + HOUR)}))
    noted = [
        await one.write(partial(failing.note_warning, endpoint_id=raw(1), warnings=due))
        for due, one in ((1, store), (1, second), (2, second), (2, store), (1, store))
    ]
    assert noted == [True, False, True, False, False]


@pytest.mark.parametrize("state", [one for one in EndpointState if one is not EndpointState.ENABLED])
async def test_only_what_is_delivered_to_fails(store: Store, vault: Vault, state: EndpointState) -> None:
    """Who is switched off is warned of no more, whatever was noted before."""
    await add_endpoint(store, vault, 1)
    await store.write(lambda c: failing.note(c, set(), {raw(1): (NOW, NOW + 50 * HOUR)}))
    assert [one.endpoint_id for one in await store.read(lambda c: failing.long_failing(c, HOUR))] == [raw(1)]
    await store.write(lambda c: c.execute(update(endpoint_table).values(state=state)))
    assert await store.read(lambda c: failing.long_failing(c, HOUR)) == []
