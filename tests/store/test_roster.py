"""The roster: every change of the control plane is seen at once, here and in other processes."""

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tellwire.ids import ENDPOINT, encode
from tellwire.model.endpoint import EndpointState
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.model.key import Scope
from tellwire.model.retry import RetryPolicy
from tellwire.model.subscription import Envelope, Subscription, with_envelope
from tellwire.model.tenant import OPERATIONAL_TENANT, TenantDefaults
from tellwire.policy.retry import RetrySchedule
from tellwire.signing.vault import Vault
from tellwire.store import endpoints, keys, tenants
from tellwire.store.roster import LiveEndpoint, Roster
from tellwire.store.store import Store

from .backends import Backend
from .rows import NOW, OTHER_SECRET, SECRET, add_endpoint, raw, until


def text_id(number: int) -> str:
    return encode(ENDPOINT, raw(number))


def targets(roster: Roster, type: str = "order.paid", data: bytes = b"{}") -> list[bytes]:
    return [endpoint.id for endpoint in roster.targets("default", type, data)]


def secrets_of(endpoint: LiveEndpoint, now_ms: int) -> list[str]:
    return [secret.text for secret in endpoint.signing_secrets(now_ms)]


async def test_a_new_database_knows_the_default_tenant(store: Store) -> None:
    """The tenant ``default`` exists from the start, and Tellwire's own; there are no endpoints and no keys."""
    assert store.roster.tenants.keys() == {"default", OPERATIONAL_TENANT}
    assert not store.roster.endpoints
    assert not store.roster.keys


async def test_a_new_endpoint_is_routed_to_at_once(store: Store, vault: Vault) -> None:
    """As soon as its creation is acknowledged, an endpoint is a target, with its headers and secret readable."""
    id = await add_endpoint(store, vault, 1, events=("order.*",))
    assert targets(store.roster) == [id]
    assert targets(store.roster, "user.created") == []
    live = store.roster.endpoints[id]
    assert live.headers == {"x-team": "header-in-the-clear"}
    assert live.settings.user_agent == "setting-in-the-clear"
    assert secrets_of(live, NOW) == [SECRET]


async def test_a_changed_endpoint_is_routed_to_by_its_new_patterns(store: Store, vault: Vault) -> None:
    """A change of the subscriptions counts from its acknowledgement on."""
    id = await add_endpoint(store, vault, 1, events=("order.*",))
    fields = {"subscriptions": (Subscription(("user.*",)),), "url": "https://new.example/"}
    await store.write(lambda connection: endpoints.change(connection, vault, text_id(1), fields, now_ms=NOW))
    assert targets(store.roster) == []
    assert targets(store.roster, "user.created") == [id]
    assert store.roster.endpoints[id].url == "https://new.example/"


async def test_a_filter_decides_event_by_event(store: Store, vault: Vault) -> None:
    """An endpoint gets what passes one of its filters, and whatever a subscription without a filter wants."""
    every = await add_endpoint(store, vault, 1, events=("order.*",))
    some = await add_endpoint(store, vault, 2)
    subscriptions = (
        Subscription(("order.*",), {"data": {"amount": {"$gt": 99.5}}}),
        Subscription(("order.paid",), {"data": {"urgent": True, "amount": 2**70}}),
        Subscription(("user.*",)),
        Subscription(("user.*",), {"tenant": "nobody"}),
    )
    fields = {"subscriptions": subscriptions}
    changed = await store.write(
        lambda connection: endpoints.change(connection, vault, text_id(2), fields, now_ms=NOW)
    )
    assert changed.subscriptions == with_envelope(subscriptions, Envelope.STANDARD)
    for type, data, wanted in [
        ("order.paid", b'{"amount":99.50000000000000000001}', [every, some]),
        ("order.paid", b'{"amount":99.5}', [every]),
        ("order.paid", b'{"amount":1180591620717411303424,"urgent":true}', [every, some]),
        ("order.lost", b'{"urgent":true}', [every]),
        ("user.created", b"{}", [some]),
        ("cart.emptied", b'{"amount":100}', []),
    ]:
        for _ in range(2):  # the second time from what is remembered of the type
            assert targets(store.roster, type, data) == wanted


@pytest.mark.parametrize(
    ("state", "routed"),
    [(EndpointState.PAUSED, True), (EndpointState.DISABLED, False), (EndpointState.ENABLED, True)],
)
async def test_paused_endpoints_are_targets_and_disabled_ones_are_not(
    store: Store, vault: Vault, state: EndpointState, routed: bool
) -> None:
    """Events for a paused endpoint are kept for it; a disabled one gets no new deliveries."""
    id = await add_endpoint(store, vault, 1)
    await store.write(
        lambda connection: endpoints.change(connection, vault, text_id(1), {"state": state}, now_ms=NOW)
    )
    assert targets(store.roster) == ([id] if routed else [])
    assert store.roster.endpoints[id].state is state


async def test_a_deleted_endpoint_is_gone_at_once(store: Store, vault: Vault) -> None:
    """After its deletion is acknowledged, an endpoint is neither a target nor known."""
    one, two = await add_endpoint(store, vault, 1), await add_endpoint(store, vault, 2)
    await store.write(lambda connection: endpoints.delete(connection, text_id(1), now_ms=NOW))
    assert targets(store.roster) == [two]
    assert one not in store.roster.endpoints


async def test_a_rotated_secret_signs_first_and_the_old_one_until_its_overlap_ends(
    store: Store, vault: Vault
) -> None:
    """After a rotation both secrets are in force, the new one first; when the overlap ends, the new one alone."""
    id = await add_endpoint(store, vault, 1)
    await store.write(
        lambda connection: endpoints.add_secret(
            connection, vault, raw(950_000), text_id(1), OTHER_SECRET, overlap_ms=1_000, now_ms=NOW
        )
    )
    live = store.roster.endpoints[id]
    assert secrets_of(live, NOW + 999) == [OTHER_SECRET, SECRET]
    assert secrets_of(live, NOW + 1_000) == [OTHER_SECRET]


async def test_a_revoked_key_is_refused_at_once(store: Store) -> None:
    """A key is known from its creation to its revocation, under its hash."""
    hash = hashlib.sha256(b"tw_1").digest()
    key = await store.write(
        lambda connection: keys.create(
            connection, keys.NewKey(raw(1), "ci", "tw_1", hash, (Scope.READ,)), now_ms=NOW
        )
    )
    assert store.roster.keys[hash].scopes == {Scope.READ}
    await store.write(lambda connection: keys.revoke(connection, key.id, now_ms=NOW))
    assert hash not in store.roster.keys


async def test_a_change_that_is_refused_leaves_the_roster_alone(store: Store, vault: Vault) -> None:
    """A rolled back change of the control plane is never seen, and later ones are."""
    await add_endpoint(store, vault, 1)
    before = store.roster
    with pytest.raises(RuntimeError):
        await store.write(_create_and_fail)
    assert store.roster is before
    await store.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))
    assert store.roster.tenants.keys() == {"default", "@tellwire", "acme"}


def _create_and_fail(connection: Connection) -> None:
    tenants.create(connection, "ghost", "Ghost", now_ms=NOW)
    raise RuntimeError("a fault of ours")


async def test_a_transaction_sees_its_own_changes(store: Store, vault: Vault) -> None:
    """Within a transaction, routing already counts what that transaction has changed."""
    await add_endpoint(store, vault, 1)

    def change(connection: Connection) -> tuple[list[bytes], list[bytes]]:
        endpoints.delete(connection, text_id(1), now_ms=NOW)
        return targets(store.roster_in(connection)), targets(store.roster)

    assert await store.write(change) == ([], [raw(1)])


async def test_other_processes_see_changes_soon(store: Store, second: Store, vault: Vault) -> None:
    """Without doing anything, another process soon knows of every change of the control plane."""
    kept = await add_endpoint(store, vault, 1)
    await add_endpoint(store, vault, 2)
    await until(lambda: targets(second.roster) == [kept, raw(2)])
    await store.write(lambda connection: endpoints.delete(connection, text_id(2), now_ms=NOW))
    await store.write(
        lambda connection: endpoints.add_secret(
            connection, vault, raw(950_000), text_id(1), OTHER_SECRET, overlap_ms=1_000, now_ms=NOW
        )
    )
    await store.write(lambda connection: tenants.create(connection, "acme", "Acme", now_ms=NOW))
    await until(lambda: second.roster.tenants.keys() == {"default", "@tellwire", "acme"})
    assert targets(second.roster) == [kept]
    assert secrets_of(second.roster.endpoints[kept], NOW) == [OTHER_SECRET, SECRET]


async def test_other_processes_route_by_changes_without_looking(
    store: Store, second: Store, vault: Vault
) -> None:
    """Every transaction of a process routes by the control plane as it is, whoever changed it."""
    id = await add_endpoint(store, vault, 1)
    assert await second.write(lambda connection: targets(second.roster_in(connection))) == [id]
    assert targets(second.roster) == [id]


async def test_other_processes_are_told_of_what_is_written(
    store: Store, backend: Backend, vault: Vault, tmp_path: Path
) -> None:
    """A process is told when somebody else has written."""
    told: list[int] = []
    other = backend.make(tmp_path, vault, told.append)
    await other.open()
    try:
        await other.write(lambda connection: tenants.create(connection, "mine", "Mine", now_ms=NOW))
        await until(lambda: other.roster.tenants.keys() >= {"mine"})
        assert not told
        await store.write(lambda connection: tenants.create(connection, "theirs", "Theirs", now_ms=NOW))
        await until(lambda: bool(told))
    finally:
        await other.close()


async def test_defaults_of_a_tenant_reach_its_endpoints(store: Store, second: Store, vault: Vault) -> None:
    """As soon as they change, in every process, for endpoints that were there before; an own policy comes first."""

    def schedule(store: Store, number: int) -> tuple[tuple[int, ...], int | None]:
        retries = store.roster.endpoints[raw(number)].retries
        found = (
            RetrySchedule((7,)) if retries is None else retries.schedule("order.paid", RetrySchedule((7,)))
        )
        return found.delays_ms, found.max_age_ms

    async def change(defaults: TenantDefaults) -> None:
        await store.write(lambda connection: tenants.change(connection, "default", {"defaults": defaults}))
        await second.write(lambda _: None)

    await add_endpoint(store, vault, 1)
    await add_endpoint(store, vault, 2)
    settings = EndpointSettings(retry=RetryPolicy(max_age_s=9))
    await store.write(
        lambda connection: endpoints.change(connection, vault, text_id(2), {"settings": settings}, now_ms=NOW)
    )
    assert store.roster.endpoints[raw(1)].retries is None
    await change(TenantDefaults(retry=RetryPolicy(delays_s=(1, 2), max_age_s=60)))
    for one in (store, second):
        assert schedule(one, 1) == ((1_000, 2_000), 60_000)
        assert schedule(one, 2) == ((1_000, 2_000), 9_000)
    await add_endpoint(store, vault, 3)
    assert schedule(store, 3) == schedule(store, 1)
    await change(TenantDefaults())
    for one in (store, second):
        assert one.roster.endpoints[raw(1)].retries is None
        assert schedule(one, 2) == ((7,), 9_000)
