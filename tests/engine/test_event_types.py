"""The catalogue of event types over HTTP, from Python and on the command line, and what publishing makes of it."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tellwire import InvalidInputError, LimitExceededError, Tellwire

from .conftest import Receiver, Server
from .test_api_control import locs

SCHEMA = {
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "amount": {"type": "integer"}},
    "required": ["order_id"],
}
EXAMPLE = {"order_id": "o_\u00e9", "amount": 4200}
PATH = "/v1/event-types/order.paid"


async def test_event_type_is_described(server: Server) -> None:
    """A first PUT makes it (201), a second replaces all of it (200); what was left out is as in a new one."""
    body = {
        "description": "Paid.", "schema": SCHEMA, "version": "2024-01", "examples": [EXAMPLE], "deprecated": True
    }  # fmt: skip
    made = await server.client.put(PATH, json=body)
    assert made.status_code == 201
    assert made.json() == {
        **body, "name": "order.paid", "validate": False,
        "created_at": made.json()["created_at"], "updated_at": made.json()["created_at"],
    }  # fmt: skip
    assert (await server.client.get(PATH)).json() == made.json()
    assert (await server.client.get("/v1/event-types")).json() == {"data": [made.json()], "next": None}
    again = await server.client.put(PATH, json={"description": "Paid!"})
    assert again.status_code == 200
    assert again.json() == {
        **made.json(), "description": "Paid!", "schema": None, "version": "1", "examples": [],
        "deprecated": False, "updated_at": again.json()["updated_at"],
    }  # fmt: skip
    assert (await server.client.put(PATH)).status_code == 200
    assert (await server.client.delete(PATH)).status_code == 204
    for answer in (await server.client.get(PATH), await server.client.delete(PATH)):
        assert locs(answer, 404) == []
        assert answer.json()["detail"] == "there is no event type 'order.paid'"


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"schema": {"type": "objekt"}}, ["schema", "type"]),
        ({"schema": {"$ref": "https://example.com/x"}}, ["schema", "$ref"]),
        ({"schema": True}, ["schema"]),
        ({"schema": SCHEMA, "examples": [EXAMPLE, {"order_id": 1}]}, ["examples", 1, "order_id"]),
        ({"examples": [1]}, ["examples", 0]),
        ({"examples": [{}] * 21}, ["examples"]),
        ({"examples": [{"a": "x" * 40_000}]}, ["examples"]),
        ({"schema": {"description": "x" * 40_000}}, ["schema"]),
        ({"version": ""}, ["version"]),
        ({"version": "a\n"}, ["version"]),
        ({"description": "x" * 1025}, ["description"]),
        ({"description": "\0"}, ["description"]),
        ({"validate": True}, ["validate"]),
        ({"names": 1}, ["names"]),
    ],
)
async def test_bad_event_type_is_refused(server: Server, body: dict[str, Any], loc: list[Any]) -> None:
    """The fault is named at its place, and nothing is stored."""
    assert locs(await server.client.put(PATH, json=body)) == [loc]
    assert (await server.client.get(PATH)).status_code == 404


async def test_name_is_one_of_an_event_type(server: Server) -> None:
    """Patterns and other texts are no names."""
    for name in ("order.*", "a..b", "x" * 129):
        assert locs(await server.client.put(f"/v1/event-types/{name}", json={})) == [["name"]]
    long = ".".join(["x" * 31] * 4)
    assert (await server.client.put(f"/v1/event-types/{long}", json={})).status_code == 201
    (entry,) = (await server.client.get("/v1/audit", params={"subject": long})).json()["data"]
    assert (entry["action"], entry["after"]["version"]) == ("event_type.put", "1")


async def test_test_sends_the_example(server: Server, receiver: Receiver) -> None:
    """The first example of a type is the data of its test; without one there is data that says so."""
    await server.client.put(PATH, json={"schema": SCHEMA, "examples": [EXAMPLE, {"order_id": "2"}]})
    endpoint = (await server.client.post("/v1/endpoints", json={"url": receiver.url})).json()["id"]
    await server.client.post(f"/v1/endpoints/{endpoint}/test", json={"type": "order.paid"})
    (request,) = await receiver.met(1)
    assert json.loads(request.body)["data"] == EXAMPLE
    await server.client.post(f"/v1/endpoints/{endpoint}/test", json={"type": "order.refunded"})
    assert json.loads((await receiver.met(2))[1].body)["data"] == {"test": True, "endpoint": endpoint}


async def test_publishing_asks_the_schema_if_told_to(server: Server) -> None:
    """Off by default; on, events that do not fit are refused by field, alone and in batches, and none is stored."""
    bad, good = {"type": "order.paid", "data": {"amount": "1"}}, {"type": "order.paid", "data": EXAMPLE}
    await server.client.put(PATH, json={"schema": SCHEMA})
    kept = {**bad, "idempotency_key": "k"}
    assert (await server.client.post("/v1/events", json=kept)).status_code == 202
    await server.client.put(PATH, json={"schema": SCHEMA, "validate": True})
    refused = await server.client.post("/v1/events", json=bad)
    assert sorted(locs(refused)) == [["data"], ["data", "amount"]]
    batch = await server.client.post("/v1/events/batch", json={"events": [good, bad]})
    assert sorted(locs(batch)) == [["events", 1, "data"], ["events", 1, "data", "amount"]]
    assert (await server.client.post("/v1/events", json=good)).status_code == 202
    assert (await server.client.post("/v1/events", json=kept)).json()["duplicate"] is True
    other = await server.client.post("/v1/events", json={"type": "order.shipped", "data": {}})
    assert other.status_code == 202
    assert len((await server.client.get("/v1/events")).json()["data"]) == 3
    await server.client.delete(PATH)
    assert (await server.client.post("/v1/events", json=bad)).status_code == 202


async def test_publishing_in_a_transaction_asks_too(tellwire: Tellwire, tmp_path: Path) -> None:
    """Whichever way an event comes, it fits or is refused."""
    await tellwire.event_types.put("order.paid", schema=SCHEMA, validate=True)
    connection = sqlite3.connect(tmp_path / "tellwire.db")
    try:
        with pytest.raises(InvalidInputError):
            await tellwire.publish("order.paid", {}, connection=connection)
        connection.rollback()
        with pytest.raises(InvalidInputError):
            await tellwire.publish("order.paid", {})
    finally:
        connection.close()


async def test_python_values_are_checked(tellwire: Tellwire) -> None:
    """What is no JSON is refused; numbers stay what they are."""
    with pytest.raises(InvalidInputError):
        await tellwire.event_types.put("a.b", examples=[{"a": float("inf")}])
    with pytest.raises(InvalidInputError):
        await tellwire.event_types.put("a.b", examples=[{"a": object()}])
    made, is_new = await tellwire.event_types.put("a.b", examples=[{"a": 10**30, "b": 0.1}])
    assert (made.examples, is_new) == (({"a": 10**30, "b": 0.1},), True)
    assert await tellwire.event_types.get("a.b") == made


async def test_catalogue_is_bounded(tellwire: Tellwire, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than the limit is refused; describing anew what is there is not."""
    few = msgspec.structs.replace(tellwire.limits, event_types=1)
    monkeypatch.setattr(tellwire.event_types, "_limits", few)
    await tellwire.event_types.put("a")
    with pytest.raises(LimitExceededError) as refused:
        await tellwire.event_types.put("b")
    assert refused.value.limit == "event_types"
    await tellwire.event_types.put("a", description="again")


async def test_a_schema_cannot_hold_everything_up(tellwire: Tellwire) -> None:
    """What could take for ever is refused when it is put; what takes long on large data, when that is published."""
    doubling = {"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}
    with pytest.raises(InvalidInputError) as refused:
        await tellwire.event_types.put("a", schema=doubling, validate=True)
    assert [fault.loc for fault in refused.value.errors] == [("schema",)]
    await tellwire.event_types.put("a", schema=doubling, examples=[{"a": {"a": {}}}])
    slow = {"additionalProperties": {"items": {"multipleOf": 0.01}}}
    await tellwire.event_types.put("b", schema=slow, validate=True)
    many = {"numbers": [1] * 15_000}
    await tellwire.publish("b", many)
    for large, loc in (
        ({"numbers": [1] * 60_000}, ("data",)),
        ({"numbers": [1] * 120_000}, ("data",)),  # alone more than all events of a request may take
        ({"numbers": [0.5] * 15_000 + [0.001]}, ("data",)),
    ):
        with pytest.raises(InvalidInputError) as refused:
            await tellwire.publish("b", large)
        assert [fault.loc for fault in refused.value.errors] == [loc]
    with pytest.raises(InvalidInputError) as refused:
        await tellwire.publish_many([{"type": "b", "data": many}] * 6)
    assert [fault.loc for fault in refused.value.errors] == [("events",)]
