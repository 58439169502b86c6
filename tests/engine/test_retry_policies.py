"""Retry policies of endpoints: refused where they make no sense, and obeyed attempt by attempt."""

from pathlib import Path
from typing import Any

import pytest

from tellwire.model.delivery import State

from .conftest import Receiver, Reply, Server
from .embedded import all_are, tellwire_at, until
from .test_api_control import URL, created, locs


@pytest.mark.parametrize(
    ("setting", "loc"),
    [
        ({"retry": 7}, ["retry"]),
        ({"retry": {}}, ["retry"]),
        ({"retry": {"delays": [1]}}, ["retry"]),
        ({"retry": {"delays_s": [1, -1]}}, ["retry", "delays_s", 1]),
        ({"retry": {"delays_s": [2_592_001]}}, ["retry", "delays_s", 0]),
        ({"retry": {"delays_s": ["1s"]}}, ["retry", "delays_s", 0]),
        ({"retry": {"delays_s": [1] * 100}}, ["retry", "delays_s"]),
        ({"retry": {"delays_s": [1], "first_s": 1}}, ["retry", "first_s"]),
        ({"retry": {"delays_s": [1], "factor": 2}}, ["retry", "factor"]),
        ({"retry": {"max_age_s": 9, "attempts": 3}}, ["retry", "attempts"]),
        ({"retry": {"max_age_s": 0}}, ["retry", "max_age_s"]),
        ({"retry": {"max_age_s": 1.5}}, ["retry", "max_age_s"]),
        ({"retry": {"first_s": 0}}, ["retry", "first_s"]),
        ({"retry": {"first_s": 10, "factor": 0.5}}, ["retry", "factor"]),
        ({"retry": {"first_s": 10, "cap_s": 9}}, ["retry", "cap_s"]),
        ({"retry": {"first_s": 10, "attempts": 101}}, ["retry", "attempts"]),
        ({"retry": {"first_s": 90_000}}, ["retry", "cap_s"]),
        ({"retry_by_type": [{"delays_s": [1]}]}, ["retry_by_type", 0]),
        ({"retry_by_type": [{"events": [], "delays_s": [1]}]}, ["retry_by_type", 0, "events"]),
        ({"retry_by_type": [{"events": ["a b"], "delays_s": [1]}]}, ["retry_by_type", 0, "events", 0]),
        ({"retry_by_type": [{"events": ["a"]}]}, ["retry_by_type", 0]),
        ({"retry_by_type": [{"events": ["a"], "delays_s": [1]}] * 21}, ["retry_by_type"]),
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused(
    server: Server, setting: dict[str, Any], loc: list[str | int]
) -> None:
    """The answer names the place; nothing is stored."""
    assert locs(await server.client.post("/v1/endpoints", json={"url": URL} | setting)) == [loc]
    assert (await server.client.get("/v1/endpoints")).json()["data"] == []


async def test_a_policy_is_shown_merged_and_cleared(server: Server) -> None:
    """A patch changes what it names; to change from one kind to the other, null takes the first one back."""
    made = await created(server, retry={"delays_s": [5, 0.5], "max_age_s": 60})
    assert made["retry"] == {"delays_s": [5, 0.5], "max_age_s": 60}
    assert made["retry_by_type"] == []
    path = f"/v1/endpoints/{made['id']}"
    older = (await server.client.patch(path, json={"retry": {"max_age_s": 90}})).json()
    assert older["retry"] == {"delays_s": [5, 0.5], "max_age_s": 90}
    assert locs(await server.client.patch(path, json={"retry": {"first_s": 9}})) == [["retry", "first_s"]]
    grows = (await server.client.patch(path, json={"retry": {"delays_s": None, "first_s": 9}})).json()
    assert grows["retry"] == {"first_s": 9, "max_age_s": 90}
    assert (await server.client.patch(path, json={"retry": None})).json()["retry"] is None


async def test_each_endpoint_and_type_is_retried_by_its_own_policy(
    tmp_path: Path, receiver: Receiver
) -> None:
    """One type has two quick retries, another none, the rest of the endpoint one; all of them end as exhausted."""
    receiver.respond = lambda _: Reply(500)
    async with tellwire_at(tmp_path) as tellwire:
        settings = {
            "retry": {"delays_s": [0.02]},
            "retry_by_type": [
                {"events": ["order.paid"], "first_s": 0.01, "factor": 2, "attempts": 3},
                {"events": ["order.*"], "delays_s": []},
            ],
        }
        await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        for type in ("order.paid", "order.sent", "user.made"):
            await tellwire.publish(type, {})
        found = await all_are(tellwire, State.EXHAUSTED, 3)
        counts = {delivery.type: delivery.attempt_count for delivery in found}
        assert counts == {"order.paid": 3, "order.sent": 1, "user.made": 2}


async def test_a_delivery_is_not_retried_beyond_its_age(tmp_path: Path, receiver: Receiver) -> None:
    """A retry that would come too late is not made; sent again by hand, its age counts from then."""
    receiver.respond = lambda _: Reply(500)
    async with tellwire_at(tmp_path) as tellwire:
        settings = {"retry": {"delays_s": [0.05, 600], "max_age_s": 1}}
        await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        await tellwire.publish("order.paid", {})
        (delivery,) = await all_are(tellwire, State.EXHAUSTED, 1)
        assert (delivery.attempt_count, delivery.last_status_code, delivery.last_error) == (2, 500, None)

        async def is_old() -> bool:
            return (tellwire.now() - delivery.created_at).total_seconds() > 1.1

        await until(is_old)
        await tellwire.deliveries.retry(delivery.id)
        await receiver.met(4)
        (delivery,) = await all_are(tellwire, State.EXHAUSTED, 1)
        assert delivery.attempt_count == 4


async def test_defaults_of_a_tenant_are_merged_shown_and_refused(server: Server) -> None:
    """A merge patch, like an endpoint's own; what makes no sense is refused by its place, and nothing is stored."""
    body: dict[str, Any] = {"id": "acme", "defaults": {"retry": {"delays_s": [1, 2.5]}}}
    made = (await server.client.post("/v1/tenants", json=body)).json()
    assert made["defaults"] == {"retry": {"delays_s": [1, 2.5]}, "envelope": None}
    path = "/v1/tenants/acme"
    changed = await server.client.patch(path, json={"defaults": {"retry": {"max_age_s": 60}}})
    assert changed.json()["defaults"]["retry"] == {"delays_s": [1, 2.5], "max_age_s": 60}
    for wrong, loc in (
        ({"retry": {}}, ["defaults", "retry"]),
        ({"retry": {"delays_s": [-1]}}, ["defaults", "retry", "delays_s", 0]),
        ({"retry": {"first_s": 1}}, ["defaults", "retry", "first_s"]),
    ):
        if wrong == {"retry": {}}:
            assert locs(await server.client.post("/v1/tenants", json={"id": "x", "defaults": wrong})) == [loc]
        else:
            assert locs(await server.client.patch(path, json={"defaults": wrong})) == [loc]
    unknown = await server.client.patch(path, json={"defaults": {"colour": "red"}})
    assert locs(unknown) == [["defaults", "colour"]]
    assert (await server.client.get(path)).json()["defaults"] == changed.json()["defaults"]
    cleared = await server.client.patch(path, json={"defaults": None})
    assert cleared.json()["defaults"] == {"retry": None, "envelope": None}


async def test_an_endpoint_goes_by_the_defaults_of_its_tenant(tmp_path: Path, receiver: Receiver) -> None:
    """Also one that was there before; where it says something itself, that holds, and so it is shown."""
    receiver.respond = lambda _: Reply(500)
    async with tellwire_at(tmp_path) as tellwire:
        await tellwire.tenants.create("acme")
        one, _ = await tellwire.endpoints.create(receiver.url, events=["a"], tenant="acme")
        own = {"retry": {"delays_s": [0]}}
        await tellwire.endpoints.create(receiver.url, events=["b"], tenant="acme", settings=own)
        await tellwire.tenants.update("acme", {"defaults": {"retry": {"delays_s": []}}})
        await tellwire.publish("a", {}, tenant="acme")
        await tellwire.publish("b", {}, tenant="acme")
        found = await all_are(tellwire, State.EXHAUSTED, 2)
        assert sorted((delivery.type, delivery.attempt_count) for delivery in found) == [("a", 1), ("b", 2)]
        assert (await tellwire.endpoints.get(one.id)).settings.retry is None
