"""Settings of an endpoint: given, merged, refused with a path, kept sealed, and obeyed."""

from typing import Any

import pytest

from .conftest import Receiver, Server
from .test_api_control import URL, created, locs


async def test_a_setting_is_a_field_of_the_endpoint(server: Server, receiver: Receiver) -> None:
    """It is shown by every answer, obeyed by the next attempt, and cleared by null."""
    made = await created(server, url=receiver.url, events=["*"], user_agent="acme-events/1.0")
    assert made["user_agent"] == "acme-events/1.0"
    path = f"/v1/endpoints/{made['id']}"
    assert (await server.client.get(path)).json()["user_agent"] == "acme-events/1.0"
    await server.client.post(path + "/test")
    assert (await receiver.met(1))[0].headers["user-agent"] == "acme-events/1.0"
    kept = (await server.client.patch(path, json={"description": "x"})).json()
    assert kept["user_agent"] == "acme-events/1.0"
    cleared = (await server.client.patch(path, json={"user_agent": None})).json()
    assert cleared["user_agent"] is None
    await server.client.post(path + "/test")
    assert (await receiver.met(2))[1].headers["user-agent"].startswith("Tellwire/")


@pytest.mark.parametrize(
    ("setting", "loc"),
    [
        ({"user_agent": 7}, ["user_agent"]),
        ({"user_agent": 7.5}, ["user_agent"]),
        ({"user_agent": ""}, ["user_agent"]),
        ({"user_agent": "x" * 257}, ["user_agent"]),
        ({"user_agent": "a\nb: c"}, ["user_agent"]),
        ({"user_agent": "ends with a line\n"}, ["user_agent"]),
        ({"user_agent": {"name": "x"}}, ["user_agent"]),
        ({"max_in_flight": 0}, ["max_in_flight"]),
        ({"max_in_flight": 1.5}, ["max_in_flight"]),
        ({"rate_limit": 5}, ["rate_limit"]),
        ({"rate_limit": {"limit": 0}}, ["rate_limit", "limit"]),
        ({"rate_limit": {"limit": 5, "per": "hour"}}, ["rate_limit", "per"]),
        ({"rate_limit": {"limit": 5, "bursts": 2}}, ["rate_limit"]),
    ],
)
async def test_a_bad_setting_is_refused_where_it_stands(
    server: Server, setting: dict[str, Any], loc: list[str | int]
) -> None:
    """Neither a new endpoint nor a change takes it."""
    assert locs(await server.client.post("/v1/endpoints", json={"url": URL} | setting)) == [loc]
    made = await created(server)
    path = f"/v1/endpoints/{made['id']}"
    assert locs(await server.client.patch(path, json=setting)) == [loc]
    shown = (await server.client.get(path)).json()
    assert shown["user_agent"] is shown["max_in_flight"] is shown["rate_limit"] is None


async def test_a_setting_stands_in_the_audit_log_by_its_name(server: Server) -> None:
    """What changed is told as clients know it."""
    made = await created(server, user_agent="a/1")
    await server.client.patch(f"/v1/endpoints/{made['id']}", json={"user_agent": "a/2"})
    entry = (await server.client.get("/v1/audit")).json()["data"][0]
    assert entry["before"]["user_agent"] == "a/1"
    assert entry["after"]["user_agent"] == "a/2"
    assert "settings" not in entry["after"]


async def test_openapi_describes_the_settings(server: Server) -> None:
    """Bodies and answers of endpoints have them, with their bounds."""
    schemas = (await server.client.get("/openapi.json")).json()["components"]["schemas"]
    for name in ("EndpointBody", "EndpointPatch", "Endpoint", "NewEndpoint"):
        assert "256" in str(schemas[name]["properties"]["user_agent"]), name


async def test_null_inside_of_a_setting_takes_that_back(server: Server) -> None:
    """As null for a whole setting does: what has a default has it again, and is never null in an answer."""
    given: dict[str, dict[str, Any]] = {
        "circuit": {"failures": 3, "ratio": 0.5, "last": 4, "probe_after_s": 1, "longest_s": 2},
        "rate_limit": {"limit": 5, "per": "minute", "burst": 7},
        "batch": {"max_events": 3, "max_wait_s": 2, "format": "cloudevents", "max_bytes": 2048},
    }
    without: dict[str, dict[str, int]] = {"circuit": {}, "rate_limit": {"limit": 5}, "batch": {}}
    nulls = {
        name: {field: None for field in fields if field not in without[name]}
        for name, fields in given.items()
    }
    usual = await created(server, **without)
    path = f"/v1/endpoints/{(await created(server, **given))['id']}"
    taken_back = (await server.client.patch(path, json=nulls)).json()
    made = await created(server, **{name: without[name] | nulls[name] for name in given})
    assert usual["circuit"]["failures"] == 10
    schemas = (await server.client.get("/openapi.json")).json()["components"]["schemas"]
    for name in given:
        assert taken_back[name] == made[name] == usual[name], name
        for field, default in usual[name].items():
            assert says_null(schemas["Endpoint"], name, field) == (default is None), (name, field)
            assert says_null(schemas["EndpointPatch"], name, field) == (field in nulls[name]), (name, field)


def says_null(schema: dict[str, Any], setting: str, field: str) -> bool:
    """Whether a schema of endpoints has a field of a setting be null."""
    shape = next(one for one in schema["properties"][setting]["anyOf"] if "properties" in one)
    return {"type": "null"} in shape["properties"][field].get("anyOf", ())
