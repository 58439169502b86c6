"""The sync face, for scripts and WSGI apps: the same Tellwire on an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from .errors import ClosedError
from .hub import DEFAULT_URL, Options, Tellwire
from .model.event import Receipt
from .publish.declared import Event

T = TypeVar("T")


class SyncTellwire:
    """Publishes from code without ``async``; safe to share between threads::

        with SyncTellwire("sqlite:///app.db") as tellwire:
            tellwire.publish("order.paid", {"order_id": "o_1"})

    Everything else of Tellwire is reached with ``call``:
    ``tellwire.call(lambda tw: tw.endpoints.create(url, events=["*"]))``.
    """

    def __init__(self, url: str = DEFAULT_URL, options: Options | None = None) -> None:
        """The arguments of ``Tellwire``."""
        self._make: Callable[[], Tellwire] = lambda: Tellwire(url, options)
        self._tellwire: Tellwire | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Open the database and start to deliver. Raises what ``Tellwire.open`` raises."""
        self._tellwire = self._make()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tellwire-loop", daemon=True)
        self._thread.start()
        try:
            self.call(Tellwire.open)
        except BaseException:
            self._end_loop()
            raise

    def close(self) -> None:
        """Stop delivering, write what waits, disconnect."""
        if self._loop is not None:
            try:
                self.call(Tellwire.close)
            finally:
                self._end_loop()

    def publish(
        self,
        event: str | Event,
        data: object = None,
        *,
        tenant: str | None = None,
        idempotency_key: str | None = None,
        occurred_at: datetime | None = None,
    ) -> Receipt:
        """Publish one event; see ``Tellwire.publish``."""
        return self.call(
            lambda tellwire: tellwire.publish(
                event, data, tenant=tenant, idempotency_key=idempotency_key, occurred_at=occurred_at
            )
        )

    def publish_many(
        self, events: Iterable[Event | Mapping[str, Any]], *, tenant: str | None = None
    ) -> list[Receipt]:
        """Publish several events, all or none; see ``Tellwire.publish_many``."""
        return self.call(lambda tellwire: tellwire.publish_many(events, tenant=tenant))

    def call(self, what: Callable[[Tellwire], Awaitable[T]]) -> T:
        """Run ``what`` with the Tellwire inside, on its event loop, and give what it gives."""
        if self._loop is None or self._tellwire is None:
            raise ClosedError("SyncTellwire is not open: use `with SyncTellwire(...)`")
        tellwire = self._tellwire

        async def run() -> T:
            return await what(tellwire)

        future: Future[T] = asyncio.run_coroutine_threadsafe(run(), self._loop)
        return future.result()

    def _end_loop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = self._tellwire = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
