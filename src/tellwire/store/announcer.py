"""The announcer: makes operational events, in the very transaction of what they tell of: neither is there alone.

They are events of the tenant ``@tellwire`` and live on like all others: from here on nobody knows what is special.
Where no endpoint of that tenant wants a type, no event is made, and what happens costs one look into the roster.

What becomes of the deliveries of that tenant is never announced: an event that cannot be delivered would make another.
"""

from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple, cast

import msgspec
from sqlalchemy import Connection, select

from tellwire.clock import Clock
from tellwire.ids import ENDPOINT, encode
from tellwire.model.audit import ITSELF, masked
from tellwire.model.operational import EndpointChanged, Happening
from tellwire.model.order import WHOLE
from tellwire.model.tenant import OPERATIONAL_TENANT
from tellwire.policy.filtering import new_pool

from .rows import DeliveryRow, EventRow, OrderedDeliveryRow, PageRow
from .store import Store
from .tables import endpoints

_FEW: Final = 20
"""An event for more endpoints is left to the fanner, so that no transaction grows with their number."""


class Place(NamedTuple):
    """What is told of an endpoint."""

    tenant: str
    url: str
    state: str
    reason: str | None


class Announcer:
    """Announces what happens to those who have subscribed to it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[], bytes],
        deliver: Callable[[set[bytes], bool], None],
    ) -> None:
        """``deliver`` is told after transactions: in which lanes there is something, and whether pages are to be
        fanned out."""
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._deliver = deliver
        self._lanes: set[bytes] = set()
        self._paged = False

    @property
    def listens(self) -> bool:
        """Whether anybody has subscribed to anything, as far as this process has heard."""
        return self._store.roster.has_endpoints(OPERATIONAL_TENANT)

    def announce(self, connection: Connection, happenings: Iterable[Happening]) -> None:
        """Make events of ``happenings``, in the transaction of ``connection``; call ``told`` when it has ended."""
        if not self.listens:
            return
        roster, pool, now_ms = self._store.roster_in(connection), new_pool(), self._clock.now_ms()
        events: list[EventRow] = []
        deliveries: list[DeliveryRow] = []
        in_order: list[OrderedDeliveryRow] = []
        pages: list[PageRow] = []
        for type, payload in happenings:
            data = msgspec.json.encode(payload)
            targets = roster.targets(OPERATIONAL_TENANT, type, data, pool)
            if not targets:
                continue
            id = self._new_id()
            events.append(
                EventRow(id, OPERATIONAL_TENANT, type, data, now_ms, now_ms, len(targets), None, None)
            )
            free = [one for one in targets if one.order != "endpoint"]  # these events have no ordering keys
            if len(free) > _FEW:
                pages.append(PageRow(id, 0, len(free), b"".join(one.id for one in free)))
                free = []
            for endpoint in [*free, *(one for one in targets if one.order == "endpoint")]:
                self._lanes.add(endpoint.id)
                row = DeliveryRow(self._new_id(), id, endpoint.id, "schedule", now_ms, None, None, now_ms)
                if endpoint.order == "endpoint":
                    in_order.append(OrderedDeliveryRow(*row._replace(id=endpoint.place_of(row.id)), WHOLE))
                else:
                    deliveries.append(row)
        self._paged |= bool(pages)
        hot = self._store.hot
        hot.insert_events(connection, events)
        hot.insert_deliveries(connection, deliveries)
        hot.insert_deliveries(connection, in_order)
        hot.insert_pages(connection, pages)

    def endpoint_changed(
        self,
        connection: Connection,
        type: str,
        id: bytes,
        *,
        actor: str = ITSELF,
        changed: Iterable[str] = (),
    ) -> None:
        """Announce a change of an endpoint, as it is after that."""
        place = self.place(connection, id)
        if place is None:
            return
        state = cast(Literal["enabled", "paused", "disabled", "unverified"], place.state)
        data = EndpointChanged(
            encode(ENDPOINT, id), place.tenant, place.url, state, place.reason, tuple(changed), actor
        )
        self.announce(connection, [Happening(type, data)])

    def place(self, connection: Connection, id: bytes) -> Place | None:
        """What is told of an endpoint, deleted or not; None where nobody listens, or there is no such endpoint."""
        if not self.listens:
            return None
        row = connection.execute(
            select(endpoints.c.tenant, endpoints.c.url, endpoints.c.state, endpoints.c.state_reason).where(
                endpoints.c.id == id
            )
        ).first()
        return None if row is None else Place(row.tenant, shown_url(row.url), row.state, row.state_reason)

    def told(self) -> None:
        """A transaction with announcements has ended, well or not: have them delivered."""
        if self._lanes or self._paged:
            lanes, self._lanes = self._lanes, set()
            paged, self._paged = self._paged, False
            self._deliver(lanes, paged)


def shown_url(url: str) -> str:
    """A URL without its query."""
    return cast(str, masked({"url": url})["url"])
