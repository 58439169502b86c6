"""The sync face: the same client on an event loop in a thread of its own. Nothing is written twice."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from tellwire.errors import ClosedError
from tellwire.model.event import Receipt
from tellwire.publish.declared import Event

from .client import Client, Listing

T = TypeVar("T")


class SyncClient:
    """Speaks to a Tellwire server from code without ``async``; safe to share between threads::

    with SyncClient("https://events.example.com", "tw_live_...") as client:
        client.publish("order.paid", {"order_id": "o_1"})
        endpoint, secret = client.call(lambda c: c.endpoints.create("https://example.com/hook", events=["*"]))
        for delivery in client.each(lambda c: c.deliveries.list, state="exhausted"):
            print(delivery.id)
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 30.0) -> None:
        """The arguments of ``Client``."""
        self._client = Client(url, key, timeout_s=timeout_s)
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
        """Make ready."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tellwire-client", daemon=True)
        self._thread.start()
        self.call(Client.open)

    def close(self) -> None:
        """Close every connection."""
        if self._loop is None or self._thread is None:
            return
        self.call(Client.close)
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def trace(self, context: Callable[[], str | None]) -> None:
        """See ``Client.trace``; ``context`` sees the context variables of the thread that publishes."""
        self._client.trace(context)

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
    ) -> Receipt:
        """Publish one event; see ``Client.publish``."""
        return self.call(
            lambda client: client.publish(
                event,
                data,
                tenant=tenant,
                idempotency_key=idempotency_key,
                occurred_at=occurred_at,
                deliver_at=deliver_at,
                expires_at=expires_at,
                ordering_key=ordering_key,
            )
        )

    def publish_many(
        self, events: Iterable[Event | Mapping[str, Any]], *, tenant: str | None = None
    ) -> list[Receipt]:
        """Publish several events, all or none; see ``Client.publish_many``."""
        return self.call(lambda client: client.publish_many(events, tenant=tenant))

    def call(self, what: Callable[[Client], Awaitable[T]]) -> T:
        """Run ``what`` with the client inside, on its event loop, and give what it gives."""
        if self._loop is None:
            raise ClosedError("the client is not open: use `with SyncClient(...)`")

        async def run() -> T:
            return await what(self._client)

        coroutine: Coroutine[Any, Any, T] = run()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def each(self, listing: Callable[[Client], Listing[T]], **asked: Any) -> Iterator[T]:
        """All items of a list, page by page as they are needed; see ``Client.each``."""
        cursor: str | None = None
        while True:
            at = cursor
            page = self.call(lambda client: listing(client)(cursor=at, **{"limit": 250, **asked}))  # noqa: B023
            yield from page.data
            if page.next is None:
                return
            cursor = page.next
