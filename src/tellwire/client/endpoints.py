"""Endpoints of a server elsewhere: the calls of ``manage.endpoints``, over HTTP."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tellwire.model.delivery import Delivery
from tellwire.model.endpoint import Endpoint
from tellwire.model.page import Page
from tellwire.model.subscription import Subscription

from . import answers
from .wire import Wire


class RemoteEndpoints:
    """``client.endpoints``; see ``Tellwire.endpoints`` for what each call takes, gives and raises."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        subscriptions: Sequence[Subscription] | None = None,
        tenant: str | None = None,
        description: str = "",
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        secret: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[Endpoint, str]:
        """A new endpoint and its signing secret."""
        body = {
            "url": url,
            "events": events,
            "subscriptions": subscriptions,
            "tenant": tenant,
            "description": description or None,
            "headers": headers,
            "metadata": metadata,
            "secret": secret,
            **(settings or {}),
        }
        given = {name: value for name, value in body.items() if value is not None}
        fields = (await self._wire.ask("POST", "/v1/endpoints", given)).json()
        return answers.endpoint(fields), fields["secret"]

    async def get(self, id: str) -> Endpoint:
        """One endpoint; the values of its headers are `***`, and so are other secrets."""
        return await self._one("GET", id)

    async def list(
        self, *, tenant: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Endpoint]:
        """Endpoints, newest first."""
        query = {"tenant": tenant, "limit": limit, "cursor": cursor}
        return answers.page(await self._wire.ask("GET", "/v1/endpoints", query=query), Endpoint)

    async def update(self, id: str, patch: Mapping[str, Any]) -> Endpoint:
        """Change what ``patch`` names, as a JSON merge patch."""
        return await self._one("PATCH", id, body=patch)

    async def delete(self, id: str) -> None:
        """Remove an endpoint."""
        await self._wire.ask("DELETE", _path(id))

    async def subscribe(self, id: str, events: Sequence[str]) -> Endpoint:
        """Add patterns."""
        return await self._one("POST", id, "/subscribe", {"events": events})

    async def unsubscribe(self, id: str, events: Sequence[str]) -> Endpoint:
        """Take patterns away."""
        return await self._one("POST", id, "/unsubscribe", {"events": events})

    async def enable(self, id: str) -> Endpoint:
        """Deliver (again)."""
        return await self._one("POST", id, "/enable")

    async def disable(self, id: str) -> Endpoint:
        """Make no new deliveries."""
        return await self._one("POST", id, "/disable")

    async def pause(self, id: str) -> Endpoint:
        """Keep events, and let them wait."""
        return await self._one("POST", id, "/pause")

    async def resume(self, id: str) -> Endpoint:
        """End a pause."""
        return await self._one("POST", id, "/resume")

    async def verify(self, id: str) -> Endpoint:
        """Ask the URL again whether it wants deliveries."""
        return await self._one("POST", id, "/verify")

    async def secret(self, id: str) -> str:
        """The current signing secret."""
        secret: str = (await self._wire.ask("GET", f"{_path(id)}/secret")).json()["secret"]
        return secret

    async def rotate_secret(self, id: str, *, secret: str | None = None, overlap_s: int = 86_400) -> str:
        """Sign with a new secret from now on."""
        body = {"secret": secret, "overlap_s": overlap_s}
        made: str = (await self._wire.ask("POST", f"{_path(id)}/secret/rotate", body)).json()["secret"]
        return made

    async def test(self, id: str, *, type: str = "tellwire.test") -> Delivery:
        """Send an example event to this endpoint alone."""
        return answers.delivery(await self._wire.ask("POST", f"{_path(id)}/test", {"type": type}))

    async def _one(self, method: str, id: str, below: str = "", body: object = None) -> Endpoint:
        answer = await self._wire.ask(method, f"{_path(id)}{below}", body)
        found: Endpoint = answers.endpoint(answer.json())
        return found


def _path(id: str) -> str:
    return f"/v1/endpoints/{quote(id, safe='')}"
