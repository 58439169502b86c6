"""The catalogue on every backend: pages by name, and what the roster knows of it."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from tellwire.clock import to_datetime
from tellwire.errors import NotFoundError
from tellwire.model.event_type import EventType
from tellwire.store import event_types
from tellwire.store.roster import raise_revision
from tellwire.store.store import Store


def event_type(name: str, schema: dict[str, Any] | None = None, *, validate: bool = False) -> EventType:
    at = to_datetime(0)
    return EventType(name, "", schema, "1", ({"a": "\u00e9"},), False, validate, at, at)


async def put(store: Store, one: EventType, now_ms: int = 5) -> EventType:
    return await store.write(
        lambda connection: event_types.put(connection, one, raise_revision(connection), now_ms=now_ms)
    )


async def test_put_replaces(store: Store) -> None:
    """The second description stands in place of the first, which leaves only the time that it was made at."""
    await put(store, event_type("a.b", {"type": "object"}), 5)
    second = await put(store, event_type("a.b"), 9)
    assert (second.schema, second.created_at, second.updated_at) == (None, to_datetime(5), to_datetime(9))
    assert await store.read(lambda connection: event_types.get(connection, "a.b")) == second
    assert await store.read(event_types.count) == 1


async def test_pages_are_by_name(store: Store) -> None:
    """Every type once, whatever the order in which they came."""
    names = ["b.c", "a", "b", "a.b_2", "B"]
    for name in names:
        await put(store, event_type(name))
    seen: list[str] = []
    cursor = None
    while True:
        page = await store.read(partial(event_types.list_page, limit=2, cursor=cursor))
        seen += [one.name for one in page.data]
        cursor = page.next
        if cursor is None:
            break
    assert (sorted(seen), len(seen)) == (sorted(names), 5)


async def test_roster_has_the_schemas_that_are_asked(store: Store) -> None:
    """Only those of types that are validated, in the very next transaction, and none once they are gone."""
    schema = {"required": ["id"]}
    assert store.roster.schemas is None
    await put(store, event_type("a.b", schema))
    assert await store.read(lambda connection: store.roster_in(connection).schemas) is None
    await put(store, event_type("a.b", schema, validate=True))
    known = await store.read(lambda connection: store.roster_in(connection).schemas)
    assert known is not None
    assert known.keys() == {"a.b"}

    def remove(connection: Connection) -> None:
        event_types.remove(connection, "a.b", raise_revision(connection))

    await store.write(remove)
    assert await store.read(lambda connection: store.roster_in(connection).schemas) is None
    with pytest.raises(NotFoundError):
        await store.write(remove)
