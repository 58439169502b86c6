"""Tenants, keys, tokens, the audit log, the catalogue and filters of a server elsewhere, over HTTP."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from tellwire.clock import rfc3339, to_ms
from tellwire.manage.filters import PreviewedEvent
from tellwire.manage.tokens import AccessToken
from tellwire.model.audit import AuditEntry
from tellwire.model.event_type import EventType
from tellwire.model.key import ApiKey, Scope
from tellwire.model.page import Page
from tellwire.model.portal import DEFAULT_LIFETIME_S, PortalToken
from tellwire.model.subscription import Subscription
from tellwire.model.tenant import Tenant, TenantLimits
from tellwire.model.verification import Verification
from tellwire.policy.explaining import Explanation

from . import answers
from .wire import Wire


class RemoteTenants:
    """``client.tenants``; see ``Tellwire.tenants``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self,
        id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limits: TenantLimits | None = None,
        verification: Verification | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Tenant:
        """Make a tenant known."""
        body = {
            "id": id,
            "name": name,
            "metadata": metadata,
            "limits": limits,
            "verification": verification,
            "defaults": defaults,
        }
        return answers.noun((await self._wire.ask("POST", "/v1/tenants", body)).json(), Tenant)

    async def get(self, id: str) -> Tenant:
        """One tenant."""
        return await self._one("GET", id)

    async def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Tenant]:
        """Tenants by id."""
        query = {"limit": limit, "cursor": cursor}
        return answers.page(await self._wire.ask("GET", "/v1/tenants", query=query), Tenant)

    async def update(self, id: str, patch: Mapping[str, Any]) -> Tenant:
        """Change what ``patch`` names, as a JSON merge patch."""
        return await self._one("PATCH", id, patch)

    async def delete(self, id: str) -> Tenant:
        """Remove a tenant with everything of its own."""
        return await self._one("DELETE", id)

    async def _one(self, method: str, id: str, body: object = None) -> Tenant:
        answer = await self._wire.ask(method, f"/v1/tenants/{quote(id, safe='')}", body)
        return answers.noun(answer.json(), Tenant)


class RemoteKeys:
    """``client.keys``; see ``Tellwire.keys``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] = tuple(Scope),
        tenant: str | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which is shown this once."""
        body = {"name": name, "scopes": scopes, "tenant": tenant, "expires_at": _time(expires_at)}
        return _shown_once((await self._wire.ask("POST", "/v1/keys", body)).json())

    async def get(self, id: str) -> ApiKey:
        """One key."""
        return answers.noun((await self._wire.ask("GET", f"/v1/keys/{quote(id, safe='')}")).json(), ApiKey)

    async def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[ApiKey]:
        """Keys, newest first, revoked ones too."""
        query = {"limit": limit, "cursor": cursor}
        return answers.page(await self._wire.ask("GET", "/v1/keys", query=query), ApiKey)

    async def rotate(
        self, id: str, *, overlap_s: int = 86_400, expires_at: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """A new key like this one, which stays good for ``overlap_s``."""
        body = {"overlap_s": overlap_s, "expires_at": _time(expires_at)}
        return _shown_once(
            (await self._wire.ask("POST", f"/v1/keys/{quote(id, safe='')}/rotate", body)).json()
        )

    async def revoke(self, id: str) -> ApiKey:
        """End a key."""
        await self._wire.ask("DELETE", f"/v1/keys/{quote(id, safe='')}")
        return await self.get(id)


class RemoteTokens:
    """``client.tokens``; see ``Tellwire.tokens``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def portal(
        self,
        tenant: str,
        capabilities: Sequence[str],
        *,
        lifetime_s: int = DEFAULT_LIFETIME_S,
        subject: str | None = None,
    ) -> PortalToken:
        """A portal token of a tenant."""
        body = {"capabilities": capabilities, "lifetime_s": lifetime_s, "subject": subject}
        path = f"/v1/tenants/{quote(tenant, safe='')}/portal-token"
        return answers.noun((await self._wire.ask("POST", path, body)).json(), PortalToken)

    async def access(self, key_id: str, *, scopes: Sequence[str] | None = None) -> AccessToken:
        """Exchange the client's API key, whose id is ``key_id``, for an access token (OAuth 2, client credentials)."""
        form = {"grant_type": "client_credentials", "client_id": key_id, "client_secret": self._wire.key}
        if scopes is not None:
            form["scope"] = " ".join(scopes)
        headers = {"content-type": "application/x-www-form-urlencoded", "authorization": ""}
        answer = await self._wire.ask(
            "POST", "/oauth/token", urlencode(form).encode(), headers=headers, keyed=False
        )
        fields = answer.json()
        given = {
            "token": fields["access_token"],
            "scopes": fields["scope"].split(),
            "expires_in_s": fields["expires_in"],
        }
        return answers.noun(given, AccessToken)


class RemoteAudit:
    """``client.audit``; see ``Tellwire.audit``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

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
        """Entries, newest first."""
        query = {
            "tenant": tenant, "actor": actor, "subject": subject, "since": since, "until": until,
            "limit": limit, "cursor": cursor,
        }  # fmt: skip
        return answers.page(await self._wire.ask("GET", "/v1/audit", query=query), AuditEntry)


class RemoteEventTypes:
    """``client.event_types``; see ``Tellwire.event_types``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def put(
        self,
        name: str,
        *,
        description: str = "",
        schema: Mapping[str, Any] | None = None,
        version: str = "1",
        examples: Sequence[Mapping[str, Any]] = (),
        deprecated: bool = False,
        validate: bool = False,
    ) -> tuple[EventType, bool]:
        """Describe an event type; gives it, and whether it is new."""
        body = {
            "description": description, "schema": schema, "version": version, "examples": examples,
            "deprecated": deprecated, "validate": validate,
        }  # fmt: skip
        answer = await self._wire.ask("PUT", f"/v1/event-types/{quote(name, safe='')}", body)
        return answers.noun(answer.json(), EventType), answer.status == 201

    async def get(self, name: str) -> EventType:
        """One event type."""
        answer = await self._wire.ask("GET", f"/v1/event-types/{quote(name, safe='')}")
        return answers.noun(answer.json(), EventType)

    async def list(
        self, *, operational: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[EventType]:
        """Event types by name; with ``operational``, those of operational events instead of the catalogue's."""
        query = {"operational": "true" if operational else None, "limit": limit, "cursor": cursor}
        return answers.page(await self._wire.ask("GET", "/v1/event-types", query=query), EventType)

    async def delete(self, name: str) -> None:
        """Take an event type out of the catalogue."""
        await self._wire.ask("DELETE", f"/v1/event-types/{quote(name, safe='')}")


class RemoteFilters:
    """``client.filters``; see ``Tellwire.filters``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def test(
        self,
        filter: Mapping[str, Any],
        *,
        event: str | None = None,
        type: str | None = None,
        tenant: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Explanation:
        """Whether a filter matches an event, and why or why not."""
        body = {"filter": filter, "event": event, "type": type, "tenant": tenant, "data": data}
        answer = await self._wire.ask("POST", "/v1/filters/test", body)
        return answers.noun(answer.json(), Explanation)

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
        """Which of the last events an endpoint would have received, and with ``bodies`` what would have been sent."""
        body = {
            "endpoint": endpoint, "tenant": tenant, "events": events, "subscriptions": subscriptions, "limit": limit,
            **({"bodies": True} if bodies else {}),
        }  # fmt: skip
        answer = await self._wire.ask("POST", "/v1/subscriptions/preview", body)
        return [answers.previewed(one) for one in answer.json()["data"]]


def _shown_once(fields: dict[str, Any]) -> tuple[ApiKey, str]:
    return answers.noun(fields, ApiKey), fields["key"]


def _time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(to_ms(at))
