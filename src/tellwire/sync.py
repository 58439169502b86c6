"""The sync face, for scripts and WSGI apps: the same Tellwire on an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from .errors import ClosedError
from .hub import DEFAULT_URL, Tellwire
from .model.event import Receipt
from .options import Options
from .publish.declared import Event
from .publish.given import many_events, one_event

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
        deliver_at: datetime | None = None,
        expires_at: datetime | None = None,
        ordering_key: str | None = None,
        connection: object = None,
    ) -> Receipt:
        """Publish one event; see ``Tellwire.publish``.

        ``connection`` is a sync one of yours; its statements run in the calling thread.
        """
        tellwire = self._opened()
        new = one_event(
            event,
            data,
            tellwire.limits,
            tenant=tenant,
            idempotency_key=idempotency_key,
            occurred_at=occurred_at,
            deliver_at=deliver_at,
            expires_at=expires_at,
            ordering_key=ordering_key,
        )
        if connection is not None:
            return tellwire.within.publish_sync(connection, [new], listed=False, call=self._wait_for)[0]
        return self.call(lambda tellwire: tellwire.accept([new], listed=False))[0]

    def publish_many(
        self,
        events: Iterable[Event | Mapping[str, Any]],
        *,
        tenant: str | None = None,
        connection: object = None,
    ) -> list[Receipt]:
        """Publish several events, all or none; see ``Tellwire.publish_many``, and ``publish`` for ``connection``."""
        tellwire = self._opened()
        if connection is not None:
            new = many_events(events, tenant, tellwire.limits)
            if not new:
                return []
            return tellwire.within.publish_sync(connection, new, listed=True, call=self._wait_for)
        return self.call(lambda tellwire: tellwire.publish_many(events, tenant=tenant))

    def call(self, what: Callable[[Tellwire], Awaitable[T]]) -> T:
        """Run ``what`` with the Tellwire inside, on its event loop, and give what it gives."""
        tellwire = self._opened()

        async def run() -> T:
            return await what(tellwire)

        return self._wait_for(run())

    def _opened(self) -> Tellwire:
        if self._loop is None or self._tellwire is None:
            raise ClosedError("SyncTellwire is not open: use `with SyncTellwire(...)`")
        return self._tellwire

    def _wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None  # noqa: S101 - _opened has seen it
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end_loop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = self._tellwire = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
