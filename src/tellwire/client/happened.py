"""Events, deliveries, replays and statistics of a server elsewhere, over HTTP."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from tellwire.clock import rfc3339, to_ms
from tellwire.model.attempt import Attempt
from tellwire.model.delivery import Delivery, State
from tellwire.model.event import StoredEvent
from tellwire.model.page import Page
from tellwire.model.replay import Again, Replay, ReplayState
from tellwire.model.stats import Span, Stats

from . import answers
from .wire import Wire


class RemoteEvents:
    """``client.events``; see ``Tellwire.events``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def get(self, id: str) -> StoredEvent:
        """One event with its data."""
        return answers.whole_event(await self._wire.ask("GET", f"/v1/events/{quote(id, safe='')}"))

    async def list(
        self,
        *,
        tenant: str | None = None,
        type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[StoredEvent]:
        """Events without their data, newest first."""
        query = {
            "tenant": tenant, "type": type, "since": since, "until": until, "limit": limit, "cursor": cursor
        }  # fmt: skip
        return answers.pages(await self._wire.ask("GET", "/v1/events", query=query), answers.event)

    async def cancel(self, id: str) -> tuple[StoredEvent, int]:
        """Cancel what is pending of an event; gives it, and how many deliveries that were."""
        fields = (await self._wire.ask("POST", f"/v1/events/{quote(id, safe='')}/cancel")).json()
        return answers.event(fields), fields["cancelled"]


class RemoteDeliveries:
    """``client.deliveries``; see ``Tellwire.deliveries``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def get(self, id: str) -> tuple[Delivery, list[Attempt]]:
        """One delivery with its attempts, first to last."""
        answer = await self._wire.ask("GET", f"/v1/deliveries/{quote(id, safe='')}")
        return answers.delivery(answer), [answers.attempt(one) for one in answer.json()["attempts"]]

    async def list(
        self,
        *,
        tenant: str | None = None,
        endpoint: str | None = None,
        event: str | None = None,
        type: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Delivery]:
        """Deliveries, newest first."""
        query = {
            "tenant": tenant, "endpoint": endpoint, "event": event, "type": type, "state": state, "since": since,
            "until": until, "limit": limit, "cursor": cursor,
        }  # fmt: skip
        return answers.page(await self._wire.ask("GET", "/v1/deliveries", query=query), Delivery)

    async def retry(self, id: str) -> Delivery:
        """Send a delivery again now."""
        return answers.delivery(await self._wire.ask("POST", f"/v1/deliveries/{quote(id, safe='')}/retry"))

    async def cancel(self, id: str) -> Delivery:
        """End a pending delivery, or give up an exhausted one."""
        return answers.delivery(await self._wire.ask("POST", f"/v1/deliveries/{quote(id, safe='')}/cancel"))


class RemoteReplays:
    """``client.replays``; see ``Tellwire.replays``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def start(
        self,
        endpoint: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        types: Sequence[str] | None = None,
        states: Sequence[Again] | None = None,
        event: str | None = None,
        dry_run: bool = False,
    ) -> Replay:
        """A job that sends to an endpoint again."""
        body = {
            "since": None if since is None else rfc3339(to_ms(since)),
            "until": None if until is None else rfc3339(to_ms(until)),
            "types": types, "states": states, "event": event, "dry_run": dry_run,
        }  # fmt: skip
        path = f"/v1/endpoints/{quote(endpoint, safe='')}/replay"
        return answers.noun((await self._wire.ask("POST", path, body)).json(), Replay)

    async def get(self, id: str) -> Replay:
        """One replay with its progress."""
        return answers.noun((await self._wire.ask("GET", f"/v1/replays/{quote(id, safe='')}")).json(), Replay)

    async def list(
        self,
        *,
        tenant: str | None = None,
        endpoint: str | None = None,
        state: ReplayState | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Replay]:
        """Replays, newest first."""
        query = {"tenant": tenant, "endpoint": endpoint, "state": state, "limit": limit, "cursor": cursor}
        return answers.page(await self._wire.ask("GET", "/v1/replays", query=query), Replay)

    async def cancel(self, id: str) -> Replay:
        """End a running replay where it stands."""
        path = f"/v1/replays/{quote(id, safe='')}/cancel"
        return answers.noun((await self._wire.ask("POST", path)).json(), Replay)


class RemoteStats:
    """``client.stats``; see ``Tellwire.stats``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def endpoint(
        self,
        id: str,
        *,
        by: Span | str = Span.HOUR,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Stats:
        """Of one endpoint."""
        query = {"by": by, "since": since, "until": until}
        path = f"/v1/endpoints/{quote(id, safe='')}/stats"
        return answers.noun((await self._wire.ask("GET", path, query=query)).json(), Stats)

    async def all(
        self,
        *,
        tenant: str | None = None,
        by: Span | str = Span.HOUR,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Stats:
        """Of all endpoints of a tenant, or of the whole server."""
        query = {"tenant": tenant, "by": by, "since": since, "until": until}
        return answers.noun((await self._wire.ask("GET", "/v1/stats", query=query)).json(), Stats)
