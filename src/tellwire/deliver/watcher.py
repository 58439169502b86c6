"""The watcher: which endpoints fail, attempt after attempt; after days of that, with warnings, it disables them.

The executor tells it how every attempt ended, which costs an entry in a dict; once a minute what was told is noted in
the store, where the processes of a server see it together. A process that dies takes what it had not noted with it: a
minute of days. An endpoint is disabled by a failure, and never for being silent: the time counts from the first
failure after the last success to the last one.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.ids import ENDPOINT, encode
from tellwire.policy.failing import first_warning_ms, is_over, warnings_due
from tellwire.store import failing
from tellwire.store.announcer import Announcer
from tellwire.store.store import Store
from tellwire.telemetry import EndpointDisabled, EndpointFailing, StoreFailed, Telemetry

from .announcing import fails, recovered
from .disabling import disable

_EVERY_S: Final = 60.0
_DAY_MS: Final = 86_400_000


class _Found(NamedTuple):
    """Warnings to tell, and endpoints whose time is over, with since when and how long they have failed."""

    warnings: list[EndpointFailing]
    over: list[tuple[bytes, int, int]]


class Watcher:
    """Keeps an eye on endpoints that fail."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[], bytes],
        telemetry: Telemetry,
        disable_after_days: int,
        announcer: Announcer,
    ) -> None:
        """``disable_after_days``: 0 never disables, and never warns."""
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._telemetry = telemetry
        self._days = disable_after_days
        self._announcer = announcer
        self._succeeded: set[bytes] = set()
        self._failed: dict[bytes, tuple[int, int]] = {}

    def ended(self, endpoint_id: bytes, ended_ms: int, succeeded: bool) -> None:
        """An attempt has ended."""
        if succeeded:
            self._succeeded.add(endpoint_id)
            if self._failed:
                self._failed.pop(endpoint_id, None)
        else:
            first_ms = self._failed.get(endpoint_id, (ended_ms, 0))[0]
            self._failed[endpoint_id] = first_ms, ended_ms

    async def run(self) -> None:
        """Look every minute until cancelled. Trouble with the store is told and outlived."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.look()
            except StoreError as error:
                self._telemetry.emit(StoreFailed("watch", str(error)))

    async def look(self) -> None:
        """Note what was told since the last time; warn of endpoints, and disable those whose time is over."""
        succeeded, self._succeeded = self._succeeded, set()
        failed, self._failed = self._failed, {}
        if not self._days:
            return
        try:
            found = await self._store.write(lambda connection: self._note(connection, succeeded, failed))
        except StoreError:
            self._take_back(succeeded, failed)
            raise
        self._announcer.told()
        for fact in found.warnings:
            self._telemetry.emit(fact)
        for id, since_ms, failing_ms in found.over:
            await self._disable(id, since_ms, failing_ms)

    def _take_back(self, succeeded: set[bytes], failed: dict[bytes, tuple[int, int]]) -> None:
        """Put what could not be noted before what was told meanwhile."""
        for id, (first_ms, last_ms) in failed.items():
            if id not in self._succeeded:
                self._failed[id] = first_ms, self._failed.get(id, (0, last_ms))[1]
        self._succeeded |= succeeded

    def _note(
        self, connection: Connection, succeeded: set[bytes], failed: dict[bytes, tuple[int, int]]
    ) -> _Found:
        for id, since_ms in failing.note(connection, succeeded, failed):
            self._announcer.announce(connection, recovered(self._announcer, connection, id, since_ms))
        most_ms, found = self._days * _DAY_MS, _Found([], [])
        for id, since_ms, last_ms, warnings in failing.long_failing(connection, first_warning_ms(most_ms)):
            failing_ms = last_ms - since_ms
            due = warnings_due(failing_ms, most_ms)
            if warnings and is_over(failing_ms, most_ms):
                found.over.append((id, since_ms, failing_ms))
            elif due > warnings and failing.note_warning(connection, id, due):
                left_ms = max(since_ms + most_ms - self._clock.now_ms(), 0)
                fact = EndpointFailing(encode(ENDPOINT, id), failing_ms, left_ms)
                found.warnings.append(fact)
                self._announcer.announce(connection, fails(self._announcer, connection, id, fact))
        return found

    async def _disable(self, id: bytes, since_ms: int, failing_ms: int) -> None:
        """In a transaction of its own, which takes its locks in the order of every change of an endpoint.

        It looks again: meanwhile the endpoint may have recovered, or people may have changed it.
        """
        reason = f"every attempt has failed for {_days(failing_ms)}"
        now_ms = self._clock.now_ms()

        def disable_it(connection: Connection) -> bool:
            if not failing.still_fails(connection, id, since_ms):
                return False
            return disable(connection, self._announcer, self._new_id, id, reason, now_ms=now_ms)

        if await self._store.write(disable_it):
            self._announcer.told()
            self._telemetry.emit(EndpointDisabled(encode(ENDPOINT, id), reason))


def _days(ms: int) -> str:
    days = ms // _DAY_MS
    return "a day" if days == 1 else f"{days} days"
