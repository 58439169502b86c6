"""Filters tried out: on one event, and on the last events that a tenant had. Nothing is stored or sent."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import rfc3339, to_ms
from tellwire.errors import InvalidInputError, NotFoundError
from tellwire.model.event import StoredEvent, is_type_name
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.model.subscription import Subscription
from tellwire.model.tenant import DEFAULT_TENANT
from tellwire.policy.explaining import Explanation, explain
from tellwire.policy.filter_syntax import as_json, check_filter
from tellwire.policy.filtering import allowance, compile_filter, event_of
from tellwire.policy.matching import check_patterns
from tellwire.policy.shaping import JSON, Happened, Shapes, compile_shapes
from tellwire.policy.subscribing import Wants, compile_subscriptions
from tellwire.policy.transforming import TransformError
from tellwire.signing.vault import Vault
from tellwire.store import endpoints, events
from tellwire.store.store import Store

from .asked import asked_limit
from .endpoint_checks import checked_subscriptions
from .example_events import EXAMPLE_TYPE
from .faults import Faults
from .tenant_defaults import in_form

_MAX_EXPLAINED: Final = 5
_MAX_REASONS: Final = 20
_MAX_BODIES: Final = 20
_SHOWN_BYTES: Final = 8 * 1024


class PreviewReason(msgspec.Struct, frozen=True):
    """What one subscription (by its place) says of an event, at ``path`` in the event."""

    subscription: int
    path: tuple[str | int, ...]
    msg: str


class PreviewedBody(msgspec.Struct, frozen=True):
    """What would have been sent: the first 8 KiB of a body of ``size_bytes``; or the error because of which nothing."""

    content_type: str
    body: str | None
    size_bytes: int
    error: str | None


class PreviewedEvent(msgspec.Struct, frozen=True):
    """Whether the subscriptions want a stored event, and why or why not (at most 20 reasons).

    ``request`` is what would have been sent, where that was asked for.
    """

    event: StoredEvent
    matches: bool
    reasons: tuple[PreviewReason, ...]
    request: PreviewedBody | None = None


class Filters:
    """Try filters out."""

    def __init__(self, store: Store, vault: Vault, limits: Limits) -> None:
        self._store = store
        self._vault = vault
        self._limits = limits

    async def test(
        self,
        filter: Mapping[str, Any],
        *,
        event: str | None = None,
        type: str | None = None,
        tenant: str | None = None,
        data: Mapping[str, Any] | bytes | None = None,
    ) -> Explanation:
        """Whether a filter matches an event, and why or why not.

        Args:
            filter: the filter.
            event: the id of a stored event; or else
            type, tenant, data: what the event is like: ``tellwire.test``, ``default`` and ``{}`` if not given. Bytes
                are JSON text.

        Raises:
            NotFoundError: there is no such event.
            InvalidInputError: the filter or the event is malformed; every fault by field.
        """
        faults = Faults()
        checked: dict[str, Any] = {}
        try:
            checked = check_filter(filter, self._limits)
        except InvalidInputError as error:
            faults.take(error, "filter")
        if event is not None and (type, tenant, data) != (None, None, None):
            faults.add("event", msg="give either event, or type, tenant and data")
        if type is not None and not is_type_name(type):
            faults.add("type", msg="is not an event type such as order.paid")
        faults.raise_any()
        if event is None:
            asked = _event(type or EXAMPLE_TYPE, DEFAULT_TENANT if tenant is None else tenant, data)
        else:
            found = await self._get(event)
            asked = event_of(found.type, found.tenant, found.data or b"{}")
        return explain(compile_filter(checked), asked)

    async def preview(
        self,
        *,
        endpoint: str | None = None,
        tenant: str | None = None,
        events: Sequence[str] | None = None,
        subscriptions: Sequence[Subscription] | None = None,
        limit: int = 100,
        bodies: bool = False,
    ) -> list[PreviewedEvent]:
        """Which of a tenant's last events these subscriptions would have wanted, newest first.

        Args:
            endpoint: the id of an endpoint: its tenant, and its subscriptions unless others are given.
            tenant: whose events, where no endpoint is given; ``default`` if not given.
            events: event-type patterns, short for one subscription.
            subscriptions: or several of them.
            limit: how many events to look at.
            bodies: whether to show what would have been sent, of the newest 20 that match.

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidInputError: every fault, by field; among them an unknown tenant.
        """
        limit = asked_limit(limit, self._limits)
        faults = Faults()
        asked = self._asked(events, subscriptions, faults)
        if endpoint is not None and tenant is not None:
            faults.add("tenant", msg="give either endpoint or tenant: the endpoint has one")
        if endpoint is None and asked is None:
            faults.add("subscriptions", msg="give endpoint, events or subscriptions")
        tenant = DEFAULT_TENANT if tenant is None else tenant
        faults.raise_any()
        if endpoint is not None:
            known = await self._store.read(
                lambda connection: endpoints.get(connection, self._vault, endpoint)
            )
            tenant, asked = known.tenant, known.subscriptions if asked is None else asked
        asked = await self._in_form(tenant, asked or ())
        wants = [compile_subscriptions([one]) for one in asked]
        previewed = await self._previewed(tenant, wants, limit)
        shapes = compile_shapes(asked, always=True)
        return previewed if shapes is None or not bodies else await self._with_bodies(previewed, shapes)

    def _asked(
        self, events: Sequence[str] | None, subscriptions: Sequence[Subscription] | None, faults: Faults
    ) -> tuple[Subscription, ...] | None:
        if events is not None and subscriptions is not None:
            faults.add("subscriptions", msg="give either events or subscriptions, not both")
        elif events is not None:
            for fault in check_patterns(events, self._limits):
                faults.add("events", *fault.loc, msg=fault.msg)
            return (Subscription(tuple(events)),)
        elif subscriptions is not None:
            return checked_subscriptions(subscriptions, self._limits, faults)
        return None

    async def _in_form(self, tenant: str, asked: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
        """The subscriptions as they would be stored."""
        return await self._store.read(lambda connection: in_form(connection, tenant, asked))

    async def _previewed(self, tenant: str, wants: Sequence[Wants], limit: int) -> list[PreviewedEvent]:
        def look(connection: Connection) -> Page[StoredEvent]:
            if tenant not in self._store.roster_in(connection).tenants:
                raise InvalidInputError.at("tenant", msg=str(NotFoundError("tenant", tenant)))
            return events.list_page(connection, tenant=tenant, limit=limit, cursor=None)

        page = await self._store.read(look)
        previewed: list[PreviewedEvent] = []
        for event in page.data:
            filtered = [index for index, one in enumerate(wants) if one.filters_for(event.type)]
            every = next((n for n, one in enumerate(wants) if one.filters_for(event.type) == ()), None)
            if every is not None:
                reason = PreviewReason(every, ("type",), f"{event.type} is wanted, whatever its data")
                previewed.append(PreviewedEvent(event, True, (reason,)))
            elif not filtered:
                found = [
                    PreviewReason(n, ("type",), f"has no pattern for {event.type}") for n in range(len(wants))
                ]
                previewed.append(PreviewedEvent(event, False, tuple(found[:_MAX_REASONS])))
            else:
                try:
                    whole = await self._get(event.id)  # one by one: their data may be large
                except NotFoundError:  # pruned since
                    continue
                previewed.append(_filtered(event, whole.data or b"{}", [(n, wants[n]) for n in filtered]))
        return previewed

    async def _with_bodies(self, previewed: list[PreviewedEvent], shapes: Shapes) -> list[PreviewedEvent]:
        """The same with what would have been sent, of the first ones that match."""
        shown, left = list(previewed), _MAX_BODIES
        for index, one in enumerate(previewed):
            if not one.matches or not left:
                continue
            try:
                whole = await self._get(one.event.id)
            except NotFoundError:  # pruned since
                continue
            left -= 1
            body = await asyncio.to_thread(_body, whole, shapes)
            shown[index] = msgspec.structs.replace(one, request=body)
        return shown

    async def _get(self, id: str) -> StoredEvent:
        return await self._store.read(lambda connection: events.get(connection, id))


def _body(event: StoredEvent, shapes: Shapes) -> PreviewedBody:
    """What these subscriptions make of an event."""
    timestamp = rfc3339(to_ms(event.occurred_at))
    if event.data is None:
        return PreviewedBody(JSON, None, 0, "its data has been removed, past the payload retention")
    happened = Happened(event.id, event.type, event.tenant, timestamp, event.data)
    try:
        made = shapes.shape(event.type, event.tenant, event.data).apply(happened)
    except TransformError as error:
        return PreviewedBody(JSON, None, 0, str(error))
    text = made.body[:_SHOWN_BYTES].decode("utf-8", "ignore")
    return PreviewedBody(made.headers["content-type"], text, len(made.body), None)


def _filtered(event: StoredEvent, data: bytes, wants: Iterable[tuple[int, Wants]]) -> PreviewedEvent:
    """As at fan-out: the filters share an allowance. Only for the reasons is each looked at by itself."""
    seen, meter = event_of(event.type, event.tenant, data), allowance()
    filters = [(index, filter) for index, one in wants for filter in one.filters_for(event.type) or ()]
    passed = next(((n, filter) for n, filter in filters if filter.matches(seen, meter)), None)
    reasons = [
        PreviewReason(index, reason.path, reason.msg)
        for index, filter in ([passed] if passed else filters[:_MAX_EXPLAINED])
        for reason in explain(filter, seen).reasons
        if reason.matches is (passed is not None)
    ]
    return PreviewedEvent(event, passed is not None, tuple(reasons[:_MAX_REASONS]))


def _event(type: str, tenant: str, data: Mapping[str, Any] | bytes | None) -> dict[str, Any]:
    try:
        text = data if isinstance(data, bytes) else as_json(dict(data or {}))
        event = event_of(type, tenant, text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError.at("data", msg=f"is no JSON: {error}") from None
    if not isinstance(event["data"], dict):
        raise InvalidInputError.at("data", msg="is no object")
    return event
