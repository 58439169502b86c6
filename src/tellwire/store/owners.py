"""Whose a thing is: asked where the caller is bound to a tenant, before it looks at a thing or changes it."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from tellwire.ids import DELIVERY, ENDPOINT, EVENT, KEY, REPLAY, decode

from .tables import deliveries, endpoints, events, keys, replays, tenants

_OWNERS: Final[dict[str, Callable[[str], Select[Any]]]] = {
    "tenant": lambda id: select(tenants.c.id).where(tenants.c.id == id),
    "endpoint": lambda id: select(endpoints.c.tenant).where(endpoints.c.id == decode(ENDPOINT, id)),
    "event": lambda id: select(events.c.tenant).where(events.c.id == decode(EVENT, id)),
    "delivery": lambda id: (
        select(events.c.tenant)
        .join(deliveries, deliveries.c.event_id == events.c.id)
        .where(deliveries.c.id == decode(DELIVERY, id))
    ),
    "replay": lambda id: select(replays.c.tenant).where(replays.c.id == decode(REPLAY, id)),
    "key": lambda id: select(keys.c.tenant).where(keys.c.id == decode(KEY, id)),
}


def owner_of(connection: Connection, kind: str, id: str) -> str | None:
    """The tenant that a thing belongs to; None where there is no such thing, or it is nobody's."""
    owner: str | None = connection.execute(_OWNERS[kind](id)).scalar()
    return owner
