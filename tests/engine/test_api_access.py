"""Tenants, keys and scopes over HTTP: whose things are whose, and who may do what."""

from .conftest import Server
from .test_api_control import created, locs


async def test_tenants(server: Server) -> None:
    """A tenant is made once, under an id of one's own, and owns its endpoints and events."""
    made = await server.client.post("/v1/tenants", json={"id": "a.b-c_D", "name": "Acme"})
    assert (made.status_code, made.json()["id"], made.json()["name"]) == (201, "a.b-c_D", "Acme")
    assert (await server.client.get("/v1/tenants/a.b-c_D")).json() == made.json()
    listed = (await server.client.get("/v1/tenants")).json()["data"]
    assert [tenant["id"] for tenant in listed] == ["a.b-c_D", "default"]
    assert locs(await server.client.post("/v1/tenants", json={"id": "a.b-c_D"}), 409) == []
    for bad in ("a b", ".", ".."):
        assert locs(await server.client.post("/v1/tenants", json={"id": bad})) == [["id"]]
    assert locs(await server.client.post("/v1/tenants", json={"id": 1, "plan": "x"})) == [["id"], ["plan"]]
    assert locs(await server.client.get("/v1/tenants/none"), 404) == []
    await created(server, tenant="a.b-c_D", events=["*"])
    for tenant in ("a.b-c_D", "default"):
        receipt = await server.client.post("/v1/events", json={"type": "a", "data": {}, "tenant": tenant})
        assert receipt.json()["deliveries"] == (tenant != "default")
        for noun in ("events", "deliveries", "endpoints"):
            page = (await server.client.get(f"/v1/{noun}", params={"tenant": tenant})).json()["data"]
            assert {item["tenant"] for item in page} <= {tenant}


async def test_keys(server: Server) -> None:
    """A key is shown once, works until it is revoked, and stays in the list."""
    body = {"name": "shop", "scopes": ["read"], "expires_at": "2099-01-01T01:00:00+01:00"}
    made = (await server.client.post("/v1/keys", json=body)).json()
    key = made.pop("key")
    assert key.startswith(made["prefix"])
    assert (made["scopes"], made["expires_at"], made["revoked_at"]) == (
        ["read"],
        "2099-01-01T00:00:00.000Z",
        None,
    )
    assert (await server.client.get("/v1/keys")).json() == {"data": [made], "next": None}
    assert (await server.client.get(f"/v1/keys/{made['id']}")).json() == made
    headers = {"authorization": f"Bearer {key}"}
    assert (await server.client.get("/v1/events", headers=headers)).status_code == 200
    assert (await server.client.delete(f"/v1/keys/{made['id']}")).status_code == 204
    assert (await server.client.get("/v1/events", headers=headers)).status_code == 401
    assert (await server.client.get(f"/v1/keys/{made['id']}")).json()["revoked_at"] is not None
    assert locs(await server.client.delete("/v1/keys/key_x"), 404) == []
    for bad, loc in [({"name": ""}, "name"), ({"name": "n", "tenant": "none"}, "tenant"),
                     ({"name": "n", "scopes": ["all"]}, "scopes"), ({"name": "n", "scopes": []}, "scopes"),
                     ({"name": "n", "expires_at": "tomorrow"}, "expires_at"),
                     ({"name": "n", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at")]:  # fmt: skip
        assert locs(await server.client.post("/v1/keys", json=bad)) == [[loc]]


async def test_the_description_is_open_to_everybody(server: Server) -> None:
    """Who writes a client reads about the API before there is a key."""
    for path in ("/openapi.json", "/docs"):
        assert (await server.client.get(path, headers={"authorization": ""})).status_code == 200
