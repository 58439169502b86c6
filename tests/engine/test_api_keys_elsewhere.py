"""Several processes serve one database: a key is good everywhere as soon as its maker knows it."""

import asyncio
from pathlib import Path

import httpx
import pytest
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.server import build_app

from .conftest import ADMIN_KEY, LOOPBACK, Server, serving

OPTIONS = Options(admin_key=ADMIN_KEY, egress=LOOPBACK, secret_key="ab" * 32, deliver=False)


def url_in(folder: Path, store: str) -> str:
    """The URL of a new database."""
    return database_in(folder) if store == "postgres" else f"sqlite:///{folder / 'tellwire.db'}"


async def statuses(server: Server, key: str) -> list[int]:
    """What a key gets on the routes behind the guard and on the two in front of it."""
    event = {"type": "a.b", "data": {}}
    async with httpx.AsyncClient(base_url=server.url, headers={"authorization": f"Bearer {key}"}) as client:
        answers = await asyncio.gather(
            client.get("/v1/events"),
            client.post("/v1/events", json=event),
            client.post("/v1/events/batch", json={"events": [event]}),
        )
    return [answer.status_code for answer in answers]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_a_new_key_is_good_in_every_process_at_once(tmp_path: Path, store: str) -> None:
    """A key that another process has just made is never refused, on no route; nor does a wrong one become good."""
    url = url_in(tmp_path, store)
    async with (
        Tellwire(url, OPTIONS) as here,
        Tellwire(url, OPTIONS) as elsewhere,
        serving(here, build_app(here)) as server,
    ):
        await elsewhere.tenants.create("acme")
        for tenant in (None, "acme") * 5:
            _, key = await elsewhere.keys.create("k", tenant=tenant)
            assert await statuses(server, key) == [200, 202, 202]
        assert await statuses(server, "tw_nobody") == [401, 401, 401]
