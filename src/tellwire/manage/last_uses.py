"""When API keys were used last: noted in memory by every request, written now and then.

A write for each request would cost more than the request. So a time is exact to a minute, and what a process that dies
had noted since it last wrote is lost; nothing depends on it.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.store.keys import note_uses
from tellwire.store.store import Store

_EVERY_S: Final = 30.0


class LastUses:
    """Keeps the last use of each key."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._now_ms: Callable[[], int] = clock.now_ms
        self._used: dict[str, int] = {}

    def note(self, key_id: str) -> None:
        """This key was used now."""
        self._used[key_id] = self._now_ms()

    async def run(self) -> None:
        """Write every half a minute until cancelled, if there is anything new."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write what was noted. Where the database cannot be written, it stays noted."""
        if not self._used:
            return
        used, self._used = self._used, {}
        try:
            await self._store.write(partial(note_uses, uses=used))
        except StoreError:
            self._used = {**used, **self._used}
