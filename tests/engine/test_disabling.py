"""Endpoints that answer 410 Gone: disabled once, and the audit log tells by whom and why. On both stores."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tellwire.model.delivery import State
from tellwire.model.endpoint import Endpoint, EndpointState

from .embedded import all_are, until
from .receivers import HeldReceiver
from .replaying import SLOTS, URLS, hub

GONE = "the endpoint answered 410 Gone"


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
async def test_gone_leaves_one_entry(tmp_path: Path, url: Callable[[Path], str]) -> None:
    """However many deliveries it answers so: by Tellwire itself, of the endpoint's tenant, with the reason."""
    async with HeldReceiver(lambda _: (410, {}), held=True) as receiver, hub(url(tmp_path)) as tellwire:
        await tellwire.tenants.create("acme")
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"], tenant="acme")
        for number in range(SLOTS):
            await tellwire.publish("order.paid", {"n": number}, tenant="acme")
        await receiver.met(SLOTS)
        receiver.let_go()
        await all_are(tellwire, State.EXHAUSTED, SLOTS)
        (entry,) = (await tellwire.audit.list(actor="tellwire")).data
        mine = (await tellwire.audit.list(tenant="acme", subject=endpoint.id)).data
    assert (entry.action, entry.tenant, entry.subject, entry.request_id) == (
        "endpoint.disabled",
        "acme",
        endpoint.id,
        None,
    )
    assert entry.before == {"state": "enabled", "state_reason": None}
    assert entry.after == {"state": "disabled", "state_reason": GONE}
    assert [one.actor for one in mine] == ["tellwire", "local"]


@pytest.mark.parametrize("switched", ["paused", "disabled", "deleted"])
async def test_gone_after_people_have_switched_it(tmp_path: Path, switched: str) -> None:
    """The entry tells what it was before; where it is disabled or deleted already, there is none."""
    async with (
        HeldReceiver(lambda _: (410, {}), held=True) as receiver,
        hub(URLS["sqlite"](tmp_path)) as tellwire,
    ):
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {})
        await receiver.met(1)
        if switched == "paused":
            await tellwire.endpoints.pause(endpoint.id)
        elif switched == "disabled":
            await tellwire.endpoints.disable(endpoint.id, reason="enough")
        else:
            await tellwire.endpoints.delete(endpoint.id)
        receiver.let_go()
        await all_are(tellwire, State.CANCELLED if switched == "deleted" else State.EXHAUSTED, 1)
        assert await tellwire.drained()
        found = (await tellwire.audit.list(actor="tellwire")).data
        if switched == "disabled":
            assert (await tellwire.endpoints.get(endpoint.id)).state_reason == "enough"
    before = [one.before for one in found]
    assert before == ([{"state": "paused", "state_reason": "paused by hand"}] if switched == "paused" else [])


async def test_each_time_it_is_gone_leaves_an_entry(tmp_path: Path) -> None:
    """Enabled again, it may be disabled again."""
    async with HeldReceiver(lambda _: (410, {})) as receiver, hub(URLS["sqlite"](tmp_path)) as tellwire:
        endpoint, _ = await tellwire.endpoints.create(receiver.url, events=["*"])

        async def is_disabled() -> Endpoint | None:
            found = await tellwire.endpoints.get(endpoint.id)
            return found if found.state is EndpointState.DISABLED else None

        for _ in range(2):
            await tellwire.publish("order.paid", {})
            await until(is_disabled)
            await tellwire.endpoints.enable(endpoint.id)
        actions = [one.action for one in (await tellwire.audit.list(subject=endpoint.id)).data]
    assert actions == [*["endpoint.enabled", "endpoint.disabled"] * 2, "endpoint.created"]
