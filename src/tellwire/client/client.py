"""The client: publishes to a server elsewhere and manages it, by the calls of ``Tellwire``."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from tellwire.clock import rfc3339
from tellwire.errors import StoreUnavailableError
from tellwire.model.event import NewEvent, Receipt
from tellwire.model.limits import MAX_PAYLOAD_HARD_BYTES, Limits
from tellwire.model.page import Page
from tellwire.publish.declared import Event
from tellwire.publish.given import many_events, one_event

from . import answers
from .control import RemoteAudit, RemoteEventTypes, RemoteFilters, RemoteKeys, RemoteTenants, RemoteTokens
from .endpoints import RemoteEndpoints
from .happened import RemoteDeliveries, RemoteEvents, RemoteReplays, RemoteStats
from .wire import Wire, new_key

T = TypeVar("T")

_LIMITS = Limits(payload_bytes=MAX_PAYLOAD_HARD_BYTES)
"""The server has its own; these only keep what no server takes from being sent."""


Listing = Callable[..., Awaitable[Page[T]]]
"""A call that lists things in pages, such as ``client.endpoints.list``."""


class Client:
    """Speaks to a Tellwire server::

        async with Client("https://events.example.com", "tw_live_...") as client:
            await client.publish("order.paid", {"order_id": "o_1"})
            async for endpoint in client.each(client.endpoints.list, tenant="acme"):
                print(endpoint.url)

    Answers are the nouns that the same calls of ``Tellwire`` give, problems the errors that they raise;
    ``RemoteError`` is what only a server elsewhere can do. Requests are sent up to five times in all, after pauses that
    grow or as the server asks (429, 5xx), and done once nevertheless: see ``wire``.

    Attributes:
        endpoints, tenants, keys, tokens, events, event_types, filters, deliveries, replays, audit, stats: as in
            ``Tellwire``.
        limits: what no server takes is not sent; the server has its own.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 30.0) -> None:
        """Prepare; nothing is sent before a call.

        Args:
            url: of the server, such as ``https://events.example.com``.
            key: an API key or a token.
            timeout_s: for each try.

        Raises:
            SettingsError: the URL or the key cannot be used.
        """
        wire = self._wire = Wire(url, key, timeout_s=timeout_s)
        self._context: Callable[[], str | None] | None = None
        self.limits = _LIMITS
        self.endpoints = RemoteEndpoints(wire)
        self.tenants = RemoteTenants(wire)
        self.keys = RemoteKeys(wire)
        self.tokens = RemoteTokens(wire)
        self.events = RemoteEvents(wire)
        self.event_types = RemoteEventTypes(wire)
        self.filters = RemoteFilters(wire)
        self.deliveries = RemoteDeliveries(wire)
        self.replays = RemoteReplays(wire)
        self.audit = RemoteAudit(wire)
        self.stats = RemoteStats(wire)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Make ready."""
        await self._wire.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()

    def trace(self, context: Callable[[], str | None]) -> None:
        """Have what is published carry the ``traceparent`` that ``context`` gives, if any. For ``observe.traces``."""
        self._context = context

    async def publish(
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
        """Publish one event; when this returns, the event and its deliveries are durable on the server.

        Takes and raises what ``Tellwire.publish`` does. Without an idempotency key it gets one of its own, so that it
        is stored once, however often it has to be sent.
        """
        new = one_event(
            event, data, _LIMITS, tenant=tenant, idempotency_key=idempotency_key, occurred_at=occurred_at,
            deliver_at=deliver_at, expires_at=expires_at, ordering_key=ordering_key,
        )  # fmt: skip
        return await self._publish(new, None if tenant is None else new.tenant)

    async def publish_many(
        self, events: Iterable[Event | Mapping[str, Any]], *, tenant: str | None = None
    ) -> list[Receipt]:
        """Publish several events, all or none; receipts come in the same order. See ``Tellwire.publish_many``."""
        new = many_events(events, tenant, _LIMITS)
        if not new:
            return []
        return await self.accept(new, listed=True)

    async def accept(self, events: list[NewEvent], *, listed: bool) -> list[Receipt]:
        """Publish events that are checked already; ``listed``: as a batch. An empty tenant is the key's own."""
        if not listed:
            return [await self._publish(one, one.tenant or None) for one in events]
        body = {"events": [_body(one, one.tenant or None) for one in events]}
        answer = await self._wire.ask("POST", "/v1/events/batch", body, headers=self._in_trace(), keyed=False)
        return [answers.receipt(one) for one in answer.json()["data"]]

    async def _publish(self, new: NewEvent, tenant: str | None) -> Receipt:
        answer = await self._wire.ask(
            "POST", "/v1/events", _body(new, tenant), headers=self._in_trace(), keyed=False
        )
        return answers.receipt(answer.json())

    def _in_trace(self) -> dict[str, str] | None:
        traceparent = self._context and self._context()
        return {"traceparent": traceparent} if traceparent else None

    async def each(self, listing: Listing[T], **asked: Any) -> AsyncIterator[T]:
        """All items of a list, page by page as they are needed: ``client.each(client.events.list, type="order.*")``."""
        cursor: str | None = None
        while True:
            page = await listing(cursor=cursor, **{"limit": 250, **asked})
            for item in page.data:
                yield item
            if page.next is None:
                return
            cursor = page.next

    async def healthy(self) -> bool:
        """Whether the server answers at all. Raises RemoteError where nothing does."""
        return (await self._wire.ask("GET", "/healthz")).status == 200

    async def ready(self) -> bool:
        """Whether the server can write its database."""
        try:
            return (await self._wire.ask("GET", "/readyz")).status == 200
        except StoreUnavailableError:
            return False

    async def public_keys(self) -> dict[str, Any]:
        """The keys of the server that receivers verify ``v1a`` signatures with, as a JSON Web Key Set."""
        keys: dict[str, Any] = (await self._wire.ask("GET", "/.well-known/tellwire-keys.json")).json()
        return keys

    async def metrics(self) -> str:
        """The metrics of the server, in the text format of Prometheus."""
        return (await self._wire.ask("GET", "/metrics")).body.decode()


def _body(new: NewEvent, tenant: str | None) -> dict[str, Any]:
    """An event as the API takes it; its data are the bytes that were given."""
    body: dict[str, Any] = {
        "type": new.type,
        "data": msgspec.Raw(new.data),
        "idempotency_key": new.idempotency_key or new_key(),
    }
    if tenant is not None:
        body["tenant"] = tenant
    if new.ordering_key is not None:
        body["ordering_key"] = new.ordering_key
    times = {"occurred_at": new.occurred_ms, "deliver_at": new.deliver_ms, "expires_at": new.expires_ms}
    body |= {name: rfc3339(ms) for name, ms in times.items() if ms is not None}
    return body
