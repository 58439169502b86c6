"""Announcing: changes of the control plane as operational events, each in the transaction of its audit entry.

They are named like the actions of the audit log; an action that is no type of operational events announces nothing.
"""

from typing import Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import rfc3339, to_datetime, to_ms
from tellwire.ids import ENDPOINT, decode
from tellwire.model.event_type import EventType
from tellwire.model.key import ApiKey
from tellwire.model.operational import OPERATIONAL_TYPES, Happening, KeyChanged, TenantChanged
from tellwire.model.page import Page
from tellwire.model.tenant import Tenant
from tellwire.store.announcer import Announcer
from tellwire.store.audit import NewEntry
from tellwire.store.paging import decode_type_cursor, page

VERSION: Final = "1"
"""Of all schemas of operational events."""
SINCE: Final = to_datetime(1_795_824_000_000)
"""Since when they are as they are: nobody has put them into a catalogue."""

_ENDPOINT: Final = "endpoint."


def announce(
    announcer: Announcer, connection: Connection, entry: NewEntry, before: object, after: object
) -> None:
    """Announce what ``entry`` notes of a thing; as it became, or as it was before where nothing more is told."""
    if entry.action not in OPERATIONAL_TYPES or not announcer.listens:
        return
    changed, thing = _changed(entry), after if isinstance(after, Tenant | ApiKey) else before
    if entry.action.startswith(_ENDPOINT):
        raw = decode(ENDPOINT, entry.subject)
        if raw is not None:
            announcer.endpoint_changed(connection, entry.action, raw, actor=entry.actor, changed=changed)
    elif isinstance(thing, Tenant):
        data = TenantChanged(thing.id, thing.name, changed, entry.actor)
        announcer.announce(connection, [Happening(entry.action, data)])
    elif isinstance(thing, ApiKey):
        key = KeyChanged(
            thing.id,
            thing.name,
            tuple(map(str, thing.scopes)),
            thing.tenant,
            None if thing.expires_at is None else rfc3339(to_ms(thing.expires_at)),
            entry.actor,
        )
        announcer.announce(connection, [Happening(entry.action, key)])


def operational_type(name: str) -> EventType | None:
    """What there is to know of a type of operational events, as the catalogue says it."""
    known = OPERATIONAL_TYPES.get(name)
    if known is None:
        return None
    example = msgspec.to_builtins(known.example)
    return EventType(name, known.description, known.schema, VERSION, (example,), False, False, SINCE, SINCE)


def operational_page(limit: int, cursor: str | None) -> Page[EventType]:
    """The types of operational events, by name."""
    after = decode_type_cursor(cursor) or ""
    names = sorted(name for name in OPERATIONAL_TYPES if name > after)
    found = [one for name in names if (one := operational_type(name)) is not None]
    return page(found[: limit + 1], limit, lambda one: one, lambda one: one.name.encode())


def _changed(entry: NewEntry) -> tuple[str, ...]:
    """The names of the fields that changed, of a thing that was there before and after."""
    if entry.before is None or entry.after is None:
        return ()
    return tuple({**entry.before, **entry.after})
