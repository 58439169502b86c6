"""Lists that change while somebody goes through them: what is there from first to last is seen once, in order."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.ids import decode
from tellwire.store import tables

URL = "https://example.com/hook"
SEEDS = range(1)
OLD, PAGES_MOST = 16, 20


class Listed:
    """A list of the hub: how something is added to it, and taken out of it."""

    def __init__(self, tellwire: Tellwire, noun: str, rng: random.Random) -> None:
        self._tellwire = tellwire
        self._noun = noun
        self._rng = rng
        self._endpoint = ""

    async def begin(self) -> None:
        """What the things of the list need."""
        if self._noun in {"deliveries", "replays"}:
            self._endpoint = (await self._tellwire.endpoints.create(URL, events=["*"]))[0].id

    async def page(self, cursor: str | None) -> tuple[list[str], str | None]:
        """Names of the things on a page of a random size, and the next cursor."""
        listing: Callable[..., Awaitable[Any]] = getattr(self._tellwire, self._noun).list
        found = await listing(limit=self._rng.randint(1, 5), cursor=cursor)
        return [self._name(one) for one in found.data], found.next

    async def add(self) -> str:
        """One more; of what is named by you, anywhere in the order."""
        hub, name = self._tellwire, f"n{self._rng.randrange(10**9)}"
        match self._noun:
            case "events":
                return (await hub.publish("a.b", {})).id
            case "deliveries":
                event = (await hub.publish("a.b", {})).id
                return (await hub.deliveries.list(event=event)).data[0].id
            case "endpoints":
                return (await hub.endpoints.create(URL))[0].id
            case "replays":
                event = (await hub.publish("a.b", {})).id
                replay = await hub.replays.start(self._endpoint, event=event, dry_run=True)
                return (await hub.replays.cancel(replay.id)).id
            case "keys":
                return (await hub.keys.create(name))[0].id
            case "tenants":
                return (await hub.tenants.create(name)).id
            case "event_types":
                return (await hub.event_types.put(name))[0].name
            case _:
                await hub.keys.create(name)
                return (await hub.audit.list(limit=1)).data[0].id

    async def remove(self, name: str) -> None:
        """Take one out, as pruning and deletion do in the end."""
        if self._noun == "endpoints":
            await self._tellwire.endpoints.delete(name)
            return
        table: Table = getattr(tables, self._noun)
        column = table.c.name if self._noun == "event_types" else table.c.id
        value: Any = name if self._noun in {"event_types", "tenants"} else self._raw(name)
        await self._tellwire._store.write(lambda c: c.execute(delete(table).where(column == value)))

    def _name(self, one: Any) -> str:
        name: str = one.name if self._noun == "event_types" else one.id
        return name

    def _raw(self, name: str) -> bytes | None:
        return decode(name.partition("_")[0], name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return database_in(tmp_path) if request.param == "postgresql" else f"sqlite:///{tmp_path / 'tellwire.db'}"


@pytest.mark.parametrize(
    "noun", ["events", "deliveries", "endpoints", "replays", "keys", "tenants", "event_types", "audit"]
)
async def test_pages_while_rows_come_and_go(url: str, noun: str) -> None:
    """Whoever follows the cursors sees all that stays exactly once, nothing twice, and ends; for each seed."""
    async with Tellwire(url, Options(deliver=False, secret_key="ab" * 32)) as tellwire:
        for seed in SEEDS:
            rng = random.Random(f"{noun} {seed}")
            listed = Listed(tellwire, noun, rng)
            await listed.begin()
            there = [await listed.add() for _ in range(OLD)]
            kept = set(rng.sample(there, OLD // 2))
            seen: list[str] = []
            cursor: str | None = None
            for turn in range(10**6):
                names, cursor = await listed.page(cursor)
                seen += names
                if cursor is None:
                    break
                if turn < PAGES_MOST:
                    for _ in range(rng.randrange(3)):
                        there.append(await listed.add())
                    for name in rng.sample(there, rng.randrange(3)):
                        if name not in kept:
                            there.remove(name)
                            await listed.remove(name)
            assert len(seen) == len(set(seen)), seed
            assert kept <= set(seen), seed
            ordered = seen if noun in {"tenants", "event_types"} else seen[::-1]
            assert ordered == sorted(ordered), seed
