"""The audit log: every change of the control plane, with who made it, kept as long as events are.

Changes go through ``Audit.write``: the entry is stored in the very transaction of the change, so neither is there
without the other; nor is the operational event, where somebody has subscribed to it. Who asks is known to whoever let
the request in, many calls above: it comes in a context variable, which is read before the transaction, because that
runs elsewhere.
"""

from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock, rfc3339, to_ms
from tellwire.model.audit import Asker, AuditEntry, masked
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.store import audit
from tellwire.store.announcer import Announcer
from tellwire.store.audit import AuditFilters, NewEntry
from tellwire.store.store import Store

from .announcing import announce
from .asked import asked_limit, asked_ms
from .versions import EXPECTED, check_version

T = TypeVar("T")

ASKER: Final[ContextVar[Asker]] = ContextVar("tellwire_asker", default=Asker())  # noqa: B039 - frozen
"""On whose behalf the running code makes changes."""

_UNTOLD: Final = frozenset({"updated_at", "last_used_at"})


class Note(Protocol):
    """Notes what a change has changed, inside its transaction."""

    def __call__(self, subject: str, tenant: str | None, before: object, after: object) -> None:
        """The thing ``subject`` of ``tenant`` was as ``before`` (None: it was not there) and is as ``after``.

        Nouns of the model, or dicts. Where nothing differs, nothing is noted.
        """


class Audit:
    """Makes changes that leave an entry, and lists the entries."""

    def __init__(
        self, store: Store, clock: Clock, new_id: Callable[[], bytes], limits: Limits, announcer: Announcer
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._announcer = announcer

    async def write(self, action: str, change: Callable[[Connection, Note], T]) -> T:
        """Run ``change`` as the store does, with a way to note what it did.

        Raises PreconditionFailedError, and nothing is changed: whoever asks expects another version (``EXPECTED``).
        """
        asker, id, at_ms = ASKER.get(), self._new_id(), self._clock.now_ms()
        expected = EXPECTED.get()

        def run(connection: Connection) -> T:
            def note(subject: str, tenant: str | None, before: object, after: object) -> None:
                check_version(expected, before)
                was, became = _difference(before, after)
                if was or became:
                    entry = NewEntry(
                        id, at_ms, action, asker.actor, tenant, subject, asker.request_id, was, became
                    )
                    audit.add(connection, entry)
                    announce(self._announcer, connection, entry, before, after)

            return change(connection, note)

        try:
            return await self._store.write(run)
        finally:
            self._announcer.told()

    async def list(
        self,
        *,
        tenant: str | None = None,
        actor: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[AuditEntry]:
        """Entries, newest first.

        Args:
            tenant: only changes of what is this tenant's.
            actor: only those made by this key (or ``admin``, ``local``, ``tellwire``).
            subject: only those of the thing with this id.
            since, until: bound ``at``: [since, until).
            limit, cursor: which page.
        """
        limit = asked_limit(limit, self._limits)
        filters = AuditFilters(tenant, actor, subject, asked_ms("since", since), asked_ms("until", until))
        return await self._store.read(
            lambda connection: audit.list_page(connection, filters, limit=limit, cursor=cursor)
        )


def _difference(before: object, after: object) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What differs, on both sides, masked only now: a header with another value is a change that shows."""
    was, became = _fields(before), _fields(after)
    if was is None or became is None:
        return was and masked(was), became and masked(became)
    changed = [name for name in {**was, **became} if was.get(name) != became.get(name)]
    return (
        masked({name: was[name] for name in changed if name in was}) or None,
        masked({name: became[name] for name in changed if name in became}) or None,
    )


def _fields(thing: object) -> dict[str, Any] | None:
    if thing is None:
        return None
    fields = thing if isinstance(thing, dict) else msgspec.structs.asdict(thing)  # type: ignore[arg-type] # a noun
    plain = {name: _plain(value) for name, value in fields.items() if name not in _UNTOLD}
    settings: dict[str, Any] = plain.pop("settings", {})
    return plain | settings  # told by the names that clients know


def _plain(value: object) -> Any:
    return rfc3339(to_ms(value)) if isinstance(value, datetime) else msgspec.to_builtins(value)
