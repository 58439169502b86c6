"""Endpoints that fail for days, as several processes see them: warned of, disabled, given time anew."""

from functools import partial

from tellwire.deliver.watcher import Watcher
from tellwire.ids import ENDPOINT, encode
from tellwire.model.endpoint import Endpoint, EndpointState
from tellwire.signing.vault import Vault
from tellwire.store import endpoints
from tellwire.store.store import Store
from tellwire.telemetry import EndpointDisabled, EndpointFailing, Fact, Telemetry

from .rows import NOW, add_endpoint, raw

HOUR = 3_600_000
ID = encode(ENDPOINT, raw(1))


class Calendar:
    """A clock that is set by hand."""

    ms = NOW

    def now_ms(self) -> int:
        return self.ms


class Days:
    """Processes on one database over days: ``attempt`` is made by one of them, and then all of them look."""

    def __init__(self, *stores: Store, days: int = 5) -> None:
        self.facts: list[Fact] = []
        self.calendar = Calendar()
        telemetry = Telemetry()
        telemetry.subscribe(self.facts.append)
        self.watchers = [Watcher(store, self.calendar, telemetry, days) for store in stores]

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


async def test_five_days_of_failures_disable_after_warnings(
    store: Store, second: Store, vault: Vault
) -> None:
    """Whichever process sees the failures, each warning and the end are told once, and the endpoint says why."""
    await add_endpoint(store, vault, 1)
    days = Days(store, second)
    for hours in range(0, 120, 10):
        await days.attempt(hours, False, by=hours // 10 % 2)
    assert days.warnings == [(30, 90), (60, 60), (90, 30)]
    assert (await stored(store, vault)).state is EndpointState.ENABLED
    await days.attempt(120, False, by=1)
    assert days.disabled == [ID]
    found = await stored(store, vault)
    assert (found.state, found.state_reason) == ("disabled", "every attempt has failed for 5 days")
    await days.attempt(121, False)
    assert (days.disabled, len(days.warnings)) == ([ID], 3)


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


async def test_it_can_be_switched_off(store: Store, vault: Vault) -> None:
    """With no days, nothing is told or disabled, and nothing piles up."""
    await add_endpoint(store, vault, 1)
    days = Days(store, days=0)
    for hours in (0, 1_000, 2_000):
        await days.attempt(hours, False)
    assert days.facts == []
    assert days.watchers[0]._failed == {}
