"""PATCH is a JSON merge patch: what it makes of an endpoint or a tenant is what RFC 7396 says, read slowly."""

import random
from typing import Any

from .conftest import Server

URL = "https://example.com/hook"
TIMES = 40


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396 section 2, word for word."""
    if isinstance(patch, dict):
        if not isinstance(target, dict):
            target = {}
        target = dict(target)
        for name, value in patch.items():
            if value is None:
                if name in target:
                    del target[name]
            else:
                target[name] = merge(target.get(name), value)
        return target
    return patch


def chosen(rng: random.Random, choices: dict[str, list[Any]]) -> dict[str, Any]:
    """Some of the members, each with one of its values."""
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.4}


def texts(rng: random.Random) -> dict[str, Any]:
    return chosen(rng, {name: ["", "1", "two", None] for name in "abcd"})


def without_nulls(shown: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Those members of an answer that say anything; null, empty and absent mean the same there."""
    found = {name: shown.get(name) for name in names}
    found = {
        name: {one: it for one, it in value.items() if it is not None} if isinstance(value, dict) else value
        for name, value in found.items()
    }
    return {name: value for name, value in found.items() if value not in (None, {}, [], "")}


async def test_endpoints(server: Server) -> None:
    """Any patches one after the other, members that merge, members that are replaced, nulls, empty patches."""
    rng = random.Random(7396)
    url = f"/v1/endpoints/{(await server.client.post('/v1/endpoints', json={'url': URL})).json()['id']}"
    names = ["url", "description", "metadata", "user_agent", "max_in_flight", "rate_limit", "events"]
    expected: dict[str, Any] = {"url": URL}
    for _ in range(TIMES):
        patch = chosen(rng, {
            "url": [URL, URL + "/b"], "description": ["d", "", None], "metadata": [texts(rng), texts(rng), {}, None],
            "user_agent": ["me/1", None], "max_in_flight": [1, 5, None], "events": [["a.b"], ["a.*", "c"], None],
            "rate_limit": [{"limit": 5, "per": "second"}, {"limit": 7}, {"per": "minute"}, None],
        })  # fmt: skip
        if "rate_limit" not in expected and len(patch.get("rate_limit") or ()) == 1:
            del patch["rate_limit"]  # half of one is refused, or has a default
        before = (await server.client.get(url)).json()
        answer = await server.client.patch(url, json=patch)
        assert answer.status_code == 200, (patch, answer.text)
        expected = without_nulls(merge(expected, patch), names)
        shown = (await server.client.get(url)).json()
        assert without_nulls(shown, names) == expected, (patch, before)


async def test_tenants(server: Server) -> None:
    """The same for tenants; a name that is cleared is the id."""
    rng = random.Random(7396)
    await server.client.post("/v1/tenants", json={"id": "acme"})
    expected: dict[str, Any] = {"name": "acme"}
    for _ in range(TIMES):
        patch = chosen(rng, {
            "name": ["A", "B", None], "metadata": [texts(rng), texts(rng), {}, None],
            "limits": [{"endpoints": 5}, {"endpoints": None, "publish_per_s": 3}, {"publish_per_s": None}, {}, None],
            "verification": ["off", "ping", None],
        })  # fmt: skip
        answer = await server.client.patch("/v1/tenants/acme", json=patch)
        assert answer.status_code == 200, (patch, answer.text)
        expected = merge(expected, patch)
        expected = {
            "name": "acme",
            **{name: value for name, value in expected.items() if value not in ({}, None)},
        }
        shown = (await server.client.get("/v1/tenants/acme")).json()
        shown["limits"] = {
            name: value for name, value in (shown["limits"] or {}).items() if value is not None
        }
        assert without_nulls(shown, ["name", "metadata", "limits", "verification"]) == expected, patch
