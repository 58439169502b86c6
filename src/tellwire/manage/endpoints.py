"""Endpoints: where a tenant receives. Made, changed, switched on and off, subscribed, given new secrets."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock, to_datetime
from tellwire.errors import ConflictError, FieldError, InvalidInputError, LimitExceededError
from tellwire.ids import ENDPOINT, encode
from tellwire.model.delivery import Delivery
from tellwire.model.endpoint import Endpoint, EndpointState
from tellwire.model.event import is_type_name
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.model.subscription import Subscription
from tellwire.model.tenant import DEFAULT_TENANT
from tellwire.signing.vault import Vault
from tellwire.store import deliveries, endpoints, holds, rearranging
from tellwire.store.store import Store

from .asked import asked_limit
from .audit import Audit, Note
from .endpoint_checks import check_fields, check_room
from .endpoint_patch import mended, narrowed, patched, subscriptions_of, widened
from .endpoint_settings import settings_after
from .endpoint_whole import check_together
from .example_events import EXAMPLE_TYPE, example_data
from .faults import CheckUrl
from .signing_checks import checked_secret, schemes_fault
from .tenant_defaults import in_form
from .verifying import Verifying

DEFAULT_OVERLAP_S = 86_400
MAX_OVERLAP_S = 30 * 86_400


class Endpoints:
    """Create, change, look at and remove endpoints."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        clock: Clock,
        new_id: Callable[[], bytes],
        limits: Limits,
        check_url: CheckUrl,
        wake: Callable[[], None],
        audit: Audit,
        verifying: Verifying,
        *,
        rearrange: Callable[[], None],
        rearrange_at_once: int,
    ) -> None:
        """``wake`` tells the engine of this process that something may have become due, ``rearrange`` that more than
        ``rearrange_at_once`` deliveries are to take their places in a new order."""
        self._store = store
        self._vault = vault
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._check_url = check_url
        self._wake = wake
        self._audit = audit
        self._verifying = verifying
        self._rearrange = rearrange
        self._rearrange_at_once = rearrange_at_once

    async def create(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        subscriptions: Sequence[Subscription] | None = None,
        tenant: str = DEFAULT_TENANT,
        description: str = "",
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        secret: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[Endpoint, str]:
        """A new endpoint and its signing secret.

        Args:
            url: where to POST; must be one that the egress guard can let pass.
            events: event-type patterns, short for one subscription.
            subscriptions: or several of them; with neither, the endpoint listens to nothing yet.
            tenant: whose it is.
            description: for people.
            headers: sent along with every delivery.
            metadata: yours; Tellwire only keeps it.
            secret: ``whsec_`` or ``whsk_`` of your own; generated (``whsec_``) if not given.
            settings: how deliveries are made to it, by the names of ``EndpointSettings``.

        Raises:
            InvalidInputError: every fault, by field; among them an unknown tenant.
            LimitExceededError: over a limit, such as the number of endpoints of a tenant.
        """
        if events is not None and subscriptions is not None:
            raise InvalidInputError.at("subscriptions", msg="give either events or subscriptions, not both")
        fields: dict[str, Any] = {
            "url": url,
            "description": description,
            "subscriptions": subscriptions_of(events, subscriptions),
            "headers": dict(headers or {}),
            "metadata": dict(metadata or {}),
        }
        if settings:
            fields["settings"] = settings_after(settings)
        fields = self._checked(fields, shorthand=events is not None)
        secret = checked_secret(secret)
        endpoint_id, secret_id, now_ms = self._new_id(), self._new_id(), self._clock.now_ms()
        endpoint = Endpoint(
            id=encode(ENDPOINT, endpoint_id),
            tenant=tenant,
            state=EndpointState.ENABLED,
            state_reason=None,
            created_at=to_datetime(now_ms),
            updated_at=to_datetime(now_ms),
            **fields,
        )

        def create(connection: Connection, note: Note) -> Endpoint:
            fields["subscriptions"] = in_form(connection, tenant, fields["subscriptions"])
            check_together(**fields, secret=secret)
            state = self._verifying.switched_on(connection, tenant, url)
            made = msgspec.structs.replace(endpoint, subscriptions=fields["subscriptions"], **state)
            check_room(tenant, endpoints.create(connection, self._vault, made), self._limits)
            endpoints.add_secret(
                connection, self._vault, secret_id, endpoint.id, secret, overlap_ms=0, now_ms=now_ms
            )
            note(endpoint.id, tenant, None, made)
            return made

        made = await self._audit.write("endpoint.created", create)
        return await self._verifying.verified(made), secret

    async def get(self, id: str) -> Endpoint:
        """One endpoint. Raises NotFoundError."""
        return await self._store.read(lambda connection: endpoints.get(connection, self._vault, id))

    async def list(
        self, *, tenant: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Endpoint]:
        """Endpoints, newest first."""
        limit = asked_limit(limit, self._limits)
        return await self._store.read(
            lambda connection: endpoints.list_page(
                connection, self._vault, tenant=tenant, limit=limit, cursor=cursor
            )
        )

    def count_by_state(self) -> Mapping[EndpointState, int]:
        """How many endpoints there are in each state, by the roster in memory."""
        return Counter(endpoint.state for endpoint in self._store.roster.endpoints.values())

    async def update(self, id: str, patch: Mapping[str, Any]) -> Endpoint:
        """Change what ``patch`` names, as a JSON merge patch: None clears, ``headers`` and ``metadata`` merge.

        Keys: ``url``, ``description``, ``events`` or ``subscriptions``, ``headers``, ``metadata``, and the names of
        ``EndpointSettings``, which merge too.

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidInputError: every fault, by field.
        """
        if "events" in patch and "subscriptions" in patch:
            raise InvalidInputError.at("subscriptions", msg="give either events or subscriptions, not both")
        now_ms = self._clock.now_ms()

        def change(connection: Connection, note: Note) -> tuple[Endpoint, bool]:
            before = endpoints.get(connection, self._vault, id)
            fields = self._checked(patched(before, patch), shorthand="events" in patch)
            if "subscriptions" in fields:
                fields["subscriptions"] = in_form(connection, before.tenant, fields["subscriptions"])
            secret = endpoints.current_secret(connection, self._vault, id) if patch.get("signing") else None
            check_together(**(msgspec.structs.asdict(before) | fields), secret=secret)
            moved = fields.get("url", before.url) != before.url
            if moved and before.state in (EndpointState.ENABLED, EndpointState.UNVERIFIED):
                fields |= self._verifying.switched_on(connection, before.tenant, fields["url"], id)
            after = endpoints.change(connection, self._vault, id, fields, now_ms=now_ms)
            note(id, after.tenant, before, after)
            self._change_order(connection, before, after, now_ms)
            if mended(before, after):
                holds.lift(connection, endpoints.raw_id(id))
            return after, moved

        after, moved = await self._audit.write("endpoint.updated", change)
        self._wake()  # what waits may have to wait no longer
        self._rearrange()
        return await self._verifying.verified(after) if moved else after

    def _change_order(self, connection: Connection, before: Endpoint, after: Endpoint, now_ms: int) -> None:
        """Where its order has changed, what is pending takes its place in the new one, or begins to."""
        was, now = before.settings, after.settings
        if (now.order, now.on_exhausted) != (was.order, was.on_exhausted):
            rearranging.change(
                connection,
                endpoints.raw_id(after.id),
                now.order,
                changed=now.order != was.order,
                now_ms=now_ms,
                at_once=self._rearrange_at_once,
            )

    async def delete(self, id: str) -> None:
        """Remove an endpoint; what was pending for it is cancelled. Raises NotFoundError."""
        now_ms = self._clock.now_ms()

        def delete(connection: Connection, note: Note) -> None:
            before = endpoints.get(connection, self._vault, id)
            endpoints.delete(connection, id, now_ms=now_ms)
            note(id, before.tenant, before, None)

        await self._audit.write("endpoint.deleted", delete)

    async def subscribe(self, id: str, events: Sequence[str]) -> Endpoint:
        """Add patterns to an endpoint's first subscription without a filter, which is made where there is none.

        Patterns that it has already stay as they are.
        """
        return await self._change_events(id, events, lambda now: widened(now, events))

    async def unsubscribe(self, id: str, events: Sequence[str]) -> Endpoint:
        """Take patterns out of all subscriptions without a filter; those that are in none are passed over.

        Subscriptions with a filter stay as they are: change them with ``update``.
        """
        return await self._change_events(id, events, lambda now: narrowed(now, events))

    async def enable(self, id: str) -> Endpoint:
        """Deliver (again), once its URL is verified: what waited, retries at their time. Raises NotFoundError."""
        return await self._switch_on(id, "enabled")

    async def disable(self, id: str, *, reason: str = "disabled by hand") -> Endpoint:
        """No new deliveries; pending ones wait until the endpoint is enabled again. Raises NotFoundError."""
        return await self._switch(id, "disabled", {"state": EndpointState.DISABLED, "state_reason": reason})

    async def pause(self, id: str) -> Endpoint:
        """Keep events for this endpoint, and let them wait. Raises NotFoundError."""
        return await self._switch(
            id, "paused", {"state": EndpointState.PAUSED, "state_reason": "paused by hand"}
        )

    async def resume(self, id: str) -> Endpoint:
        """End a pause: what waited is sent, retries at their time. One that is enabled stays so.

        Raises:
            NotFoundError: there is no such endpoint.
            ConflictError: it is disabled, which ``enable`` ends and ``resume`` does not.
        """
        return await self._switch_on(id, "resumed")

    async def verify(self, id: str) -> Endpoint:
        """Ask its receiver whether it wants deliveries; one that passes is enabled, else ``state_reason`` says why not.

        A URL that is verified already is not asked again.

        Raises:
            NotFoundError: there is no such endpoint.
            ConflictError: its tenant's endpoints need not be verified; or it is enabled, paused or disabled, and its
                receiver did not pass.
        """
        return await self._verifying.verify(id)

    async def secret(self, id: str) -> str:
        """The current signing secret. Raises NotFoundError."""
        return await self._store.read(
            lambda connection: endpoints.current_secret(connection, self._vault, id)
        )

    async def rotate_secret(
        self, id: str, *, secret: str | None = None, overlap_s: int = DEFAULT_OVERLAP_S
    ) -> str:
        """Sign with a new secret from now on, and with the old one too for ``overlap_s`` (0 to 30 days).

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidInputError: a malformed secret or overlap; too many secrets in force at once.
        """
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise InvalidInputError.at("overlap_s", msg=f"must be 0 to {MAX_OVERLAP_S} seconds")
        text = checked_secret(secret)
        secret_id, now_ms = self._new_id(), self._clock.now_ms()
        most = self._limits.secrets_per_endpoint

        def rotate(connection: Connection, note: Note) -> None:
            endpoint = endpoints.get(connection, self._vault, id)
            fault = schemes_fault(endpoint.settings.signing, text)
            if fault is not None:
                raise InvalidInputError.at("secret", msg=f"{fault}; change the setting signing first")
            in_force = endpoints.add_secret(
                connection, self._vault, secret_id, id, text, overlap_ms=overlap_s * 1000, now_ms=now_ms
            )
            if in_force > most:
                over = FieldError((), f"{most} secrets are in force already; wait until an overlap has ended")
                raise LimitExceededError([over], limit="secrets_per_endpoint", maximum=most)
            note(id, endpoint.tenant, None, {"secret": text, "overlap_s": overlap_s})

        await self._audit.write("endpoint.secret_rotated", rotate)
        return text

    async def test(self, id: str, *, type: str = EXAMPLE_TYPE) -> Delivery:
        """Send an example event to this endpoint alone, whatever it is subscribed to.

        Its data is the first example that the catalogue has of its type.

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidInputError: ``type`` is no event-type name.
        """
        if not is_type_name(type):
            raise InvalidInputError.at("type", msg="is not an event type such as order.paid")
        event_id, delivery_id, now_ms = self._new_id(), self._new_id(), self._clock.now_ms()

        def create(connection: Connection, note: Note) -> Delivery:
            endpoint = endpoints.get(connection, self._vault, id)
            raw = endpoints.raw_id(id)
            delivery = deliveries.create_test(
                connection, delivery_id=delivery_id, event_id=event_id, endpoint_id=raw, tenant=endpoint.tenant,
                type=type, data=example_data(connection, endpoint, type), now_ms=now_ms,
            )  # fmt: skip
            note(id, endpoint.tenant, None, {"delivery": delivery.id, "type": type})
            return delivery

        delivery = await self._audit.write("endpoint.tested", create)
        self._wake()
        return delivery

    def _checked(self, fields: Mapping[str, Any], *, shorthand: bool) -> dict[str, Any]:
        return check_fields(fields, self._check_url, self._limits, shorthand=shorthand)

    async def _change_events(
        self,
        id: str,
        events: Sequence[str],
        changed: Callable[[tuple[Subscription, ...]], tuple[Subscription, ...]],
    ) -> Endpoint:
        self._checked({"subscriptions": (Subscription(tuple(events)),)}, shorthand=True)
        now_ms = self._clock.now_ms()

        def change(connection: Connection, note: Note) -> Endpoint:
            before = endpoints.get(connection, self._vault, id)
            subscriptions = in_form(connection, before.tenant, changed(before.subscriptions))
            fields = self._checked({"subscriptions": subscriptions}, shorthand=True)
            check_together(**(msgspec.structs.asdict(before) | fields))
            after = endpoints.change(connection, self._vault, id, fields, now_ms=now_ms)
            note(id, after.tenant, before, after)
            return after

        return await self._audit.write("endpoint.updated", change)

    async def _switch_on(self, id: str, done: str) -> Endpoint:
        now_ms = self._clock.now_ms()

        def change(connection: Connection, note: Note) -> Endpoint:
            before = endpoints.get(connection, self._vault, id)
            if before.state is EndpointState.DISABLED and done == "resumed":
                raise ConflictError(f"endpoint {id!r} is disabled, not paused: enable it")
            if before.state is EndpointState.ENABLED:
                return before
            fields = self._verifying.switched_on(connection, before.tenant, before.url, id)
            after = endpoints.change(connection, self._vault, id, fields, now_ms=now_ms)
            note(id, after.tenant, before, after)
            return after

        endpoint = await self._verifying.verified(await self._audit.write(f"endpoint.{done}", change))
        self._wake()
        return endpoint

    async def _switch(self, id: str, done: str, fields: Mapping[str, Any]) -> Endpoint:
        now_ms = self._clock.now_ms()

        def change(connection: Connection, note: Note) -> Endpoint:
            before = endpoints.get(connection, self._vault, id)
            after = endpoints.change(connection, self._vault, id, fields, now_ms=now_ms)
            note(id, after.tenant, before, after)
            return after

        return await self._audit.write(f"endpoint.{done}", change)
