"""The facade: one object that publishes, delivers and manages. Wiring only; the work is done by the stages."""

import asyncio
import random as _random
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from .clock import Clock, SystemClock, to_datetime
from .deliver.egress import check_url
from .deliver.engine import Engine
from .deliver.resolver import Resolver
from .deliver.transport import HttpTransport, Transport
from .deliver.verifier import Verifier
from .ending import end
from .errors import ClosedError, StoreUnavailableError
from .ids import DELIVERY, EVENT, IdMaker, decode
from .manage.answers import Answers
from .manage.audit import Audit
from .manage.deliveries import Deliveries, Events
from .manage.endpoints import Endpoints
from .manage.event_types import EventTypes
from .manage.filters import Filters
from .manage.keys import Keys
from .manage.owners import check_owner
from .manage.replays import Replays
from .manage.sealing import Sealing
from .manage.stats import Statistics
from .manage.tenants import Tenants
from .manage.tokens import Tokens
from .manage.verifying import Verifying
from .model.event import NewEvent, Receipt
from .model.key import Caller
from .options import Options
from .publish.declared import Event
from .publish.fanout import Lease
from .publish.given import many_events, one_event
from .publish.publisher import Answer, Publisher
from .publish.tracing import Traced, Tracing
from .publish.within import Within
from .signing.server_key import server_jwks
from .store import probe
from .store.announcer import Announcer
from .store.connect import MakeStore, store_for
from .store.rows import PoolUse
from .telemetry import Telemetry

DEFAULT_URL = "sqlite:///tellwire.db"
_POLL_S = 0.02
_READY_FOR_MS = 1_000
_READY_WITHIN_S = 2.0


class Tellwire:
    """Publishes events and delivers them, in your own process::

        async with Tellwire("sqlite:///app.db") as tellwire:
            await tellwire.endpoints.create("https://example.com/hook", events=["order.*"])
            await tellwire.publish("order.paid", {"order_id": "o_1"})

    Attributes:
        endpoints, tenants, keys, tokens, events, event_types, filters, deliveries, replays, audit: the control plane.
        stats: what became of deliveries, counted by hour and day.
        answers: kept for idempotency keys. For `api`.
        telemetry: subscribe here to the facts that the stages tell.
        limits: what is accepted at most.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        options: Options | None = None,
        *,
        clock: Clock | None = None,
        transport: Transport | None = None,
        random: _random.Random | None = None,
        make_store: MakeStore = store_for,
    ) -> None:
        """Prepare; nothing is opened before ``async with`` (or ``open``).

        Args:
            url: of the database: ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or
                ``postgresql://user:password@host/database``.
            options: see ``Options``.
            clock, transport, random, make_store: other parts for simulations and tests.

        Raises:
            SettingsError: the URL or the key cannot be used.
        """
        self._options = options or Options()
        self._transport = transport
        self._random = random
        self.limits = self._options.limits
        self.telemetry = Telemetry()
        self._store, vault, self._clock = make_store(
            url, self._options.secret_key, clock=clock, on_ready=self._expect
        )
        self._store.tell(self.telemetry)
        self._new_id = IdMaker(self._clock.now_ms, random)
        self._engine: Engine | None = None
        self._publisher: Publisher | None = None
        self._traced = Traced()
        self._within = Within(
            self._store, self._clock, self._new_id, self._traced, at_once=self._options.fan_out_at_once
        )
        self._ready_ms = -_READY_FOR_MS
        store, clock, limits = self._store, self._clock, self.limits
        self._vault = vault
        announcer = Announcer(store, clock, self._new_id, lambda lanes, paged: self._wake())
        self.audit = Audit(store, clock, self._new_id, limits, announcer)
        self.tenants = Tenants(store, clock, limits, self.audit)
        verifying = self._make_verifying()
        self.endpoints = Endpoints(
            store, vault, clock, self._new_id, limits, self._check_url, self._wake, self.audit, verifying,
            rearrange=self._rearrange, rearrange_at_once=self._options.rearrange_at_once,
        )  # fmt: skip
        self.keys = Keys(
            store,
            clock,
            self._new_id,
            limits,
            self._options.admin_key,
            self.audit,
            test=self._options.test_keys,
        )
        self.answers = Answers(store, clock, vault)
        self.tokens = Tokens(
            store, self.keys, clock, vault, self.audit, access_s=self._options.token_lifetime_s
        )
        self._last_uses: asyncio.Task[None] | None = None
        self.events = Events(store, clock, limits, self._wake, self._forget_event, self.audit)
        self.event_types = EventTypes(store, clock, limits, self.audit)
        self.filters = Filters(store, vault, limits)
        self.deliveries = Deliveries(store, clock, limits, self._wake, self._forget, self.audit)
        self.replays = Replays(store, clock, self._new_id, limits, self._replay, self.audit)
        self.stats = Statistics(store, clock)
        self.sealing = Sealing(store, vault)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the database (migrating it where needed) and start to deliver.

        Raises:
            StoreError: the database cannot be opened, or was written by a newer Tellwire.
            SettingsError: its secrets were sealed with another key.
        """
        await self._store.open()
        try:
            if self._options.deliver:
                self._engine = self._make_engine()
        except BaseException:
            await self._store.close()
            raise
        self._publisher = Publisher(
            self._store,
            self._clock,
            self._new_id,
            self.telemetry,
            self._traced,
            lease=self._lease if self._engine else None,
            offer=self._engine.offer if self._engine else None,
            fan_out=self._engine.fan_out if self._engine else None,
            expect=self._engine.expect if self._engine else None,
            claim_in=self._engine.claim_in if self._engine else None,
            queued=self._engine.queued if self._engine else None,
            at_once=self._options.fan_out_at_once,
        )
        if self._engine:
            await self._engine.start()
        self._last_uses = asyncio.create_task(self.keys.last_uses.run())

    async def close(self) -> None:
        """Stop delivering (what is in the air may land within the grace period), write what waits, disconnect."""
        engine, self._engine, self._publisher = self._engine, None, None
        if self._last_uses is not None:
            await end([self._last_uses])
            self._last_uses = None
            await self.keys.last_uses.write()
        if engine is not None:
            await engine.stop()
        await self._store.close()
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None

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
        connection: object = None,
    ) -> Receipt:
        """Publish one event; when this returns, the event and its deliveries are durable.

        Args:
            event: a type name (then with ``data``) or an instance of a declared ``Event``.
            data: a JSON object: dict, dataclass, pydantic model, or ``bytes`` that are JSON already.
            tenant: whose endpoints are to receive it; ``default`` if not given.
            idempotency_key: publishing the same again gives the first event's receipt.
            occurred_at: when it happened, with a time zone; now if not given.
            deliver_at: not to be delivered before, up to 30 days ahead; until then it can be cancelled.
            expires_at: not worth delivering from then on: what is pending then ends as exhausted.
            ordering_key: endpoints with the setting ``order`` ``key`` get events with the same one in order.
            connection: yours, on the same database, in your transaction: the event exists exactly if you commit.
                Of SQLAlchemy, asyncpg, psycopg, Django, aiosqlite or sqlite3.

        Raises:
            InvalidInputError: a field is wrong, or the connection cannot be used; nothing was stored.
            ConflictError: the idempotency key was used before with other content.
            StoreUnavailableError: the database cannot be written now; nothing was stored (but see
                ``outcome_unknown``).
        """
        new = one_event(
            event,
            data,
            self.limits,
            tenant=tenant,
            idempotency_key=idempotency_key,
            occurred_at=occurred_at,
            deliver_at=deliver_at,
            expires_at=expires_at,
            ordering_key=ordering_key,
        )
        if connection is not None:
            return (await self.within.publish(connection, [new], listed=False))[0]
        return (await self.accept([new], listed=False))[0]

    async def publish_many(
        self,
        events: Iterable[Event | Mapping[str, Any]],
        *,
        tenant: str | None = None,
        connection: object = None,
    ) -> list[Receipt]:
        """Publish several events, all or none; receipts come in the same order.

        Each is a declared ``Event`` or a mapping with the keyword arguments of ``publish`` (``type`` instead of
        ``event``). ``tenant`` is for those that name none, ``connection``
        as for ``publish``. Errors as for ``publish``, with the index of each fault.
        """
        new = many_events(events, tenant, self.limits)
        if not new:
            return []
        if connection is not None:
            return await self.within.publish(connection, new, listed=True)
        return await self.accept(new, listed=True)

    async def accept(self, events: list[NewEvent], *, listed: bool) -> list[Receipt]:
        """Publish events that are checked already (the HTTP API checks bytes, not Python values)."""
        return await self._open_publisher().publish(events, listed=listed)

    def submit(self, events: list[NewEvent], answer: Answer) -> None:
        """Publish checked events; ``answer`` gets the receipts, or the error, when they are durable. For `api`."""
        self._open_publisher().submit(events, answer, listed=False)

    def _open_publisher(self) -> Publisher:
        if self._publisher is None:
            raise ClosedError("Tellwire is not open: use `async with Tellwire(...)`")
        return self._publisher

    @property
    def within(self) -> Within:
        """Publishing on connections of the caller's, which ``SyncTellwire`` does in the caller's thread."""
        self._open_publisher()
        return self._within

    def publish_rate(self, tenant: str) -> int | None:
        """How many events a second a tenant may publish over HTTP by its own limit. For `api`."""
        live = self._store.roster.tenants.get(tenant)
        return None if live is None else live.publish_per_s

    def has_tenant(self, id: str) -> bool:
        """Whether there is a tenant of this id, and it is not being deleted; by the roster in memory. For `api`."""
        return id in self._store.roster.tenants

    async def check_owner(self, caller: Caller, kind: str, id: str) -> None:
        """Let a caller that is bound to a tenant pass to what is its own. For `api`. Raises NotFoundError."""
        await check_owner(self._store, caller, kind, id)

    async def drained(self, timeout_s: float = 30.0) -> bool:
        """Wait until nothing is due or in flight any more (retries that are due later do not count).

        True when that is so; False after ``timeout_s``. For scripts and tests.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while True:
            if (self._engine is None or not self._engine.held) and not await self.deliveries.count_due():
                return True
            if loop.time() >= end:
                return False
            await asyncio.sleep(_POLL_S)

    async def ready(self) -> None:
        """Return if the database could be written within the last second. Raises StoreError, ClosedError.

        Only a write can tell, and whoever asks is not authenticated: so it is tried once a second at most.
        """
        self._open_publisher()
        now_ms = self._clock.now_ms()
        if not 0 <= now_ms - self._ready_ms < _READY_FOR_MS:
            try:
                async with asyncio.timeout(_READY_WITHIN_S):
                    await self._store.try_writing()
            except TimeoutError:
                raise StoreUnavailableError(
                    f"the database was not written within {_READY_WITHIN_S} s"
                ) from None
            self._ready_ms = now_ms

    async def clock_skew_ms(self) -> int | None:
        """How far this machine's clock is ahead of the database's, at least; None where they are the same clock.

        What the question itself may have taken counts for nothing. Raises StoreError.
        """
        before_ms = SystemClock().now_ms()
        database_ms = await self._store.read(probe.clock_ms)
        after_ms = SystemClock().now_ms()
        return None if database_ms is None else max(min(after_ms - database_ms, 0), before_ms - database_ms)

    def public_keys(self) -> list[dict[str, str]]:
        """The keys, as JSON Web Keys, with which receivers verify ``v1a`` signatures of this server."""
        return [*server_jwks(self._vault)]

    def now(self) -> datetime:
        """The time by the clock that everything here goes by."""
        return to_datetime(self._clock.now_ms())

    def trace(self, tracing: Tracing) -> None:
        """Have publishing traced from now on. For `observe`."""
        self._traced.tracing = tracing

    @property
    def connections(self) -> tuple[PoolUse, ...]:
        """How many connections of each pool of the database are in use; nothing where there are no pools."""
        return self._store.connections

    @property
    def engine(self) -> Engine | None:
        """The engine of this process, while it delivers."""
        return self._engine

    def _sending(self) -> Transport:
        options = self._options
        if self._transport is None:
            self._transport = HttpTransport(
                options.egress,
                timeout_s=options.engine.timeout_s,
                resolver=Resolver(list(options.dns_servers)) if options.dns_servers else None,
                proxy=options.egress_proxy,
                ca_file=None if options.egress_ca_file is None else str(options.egress_ca_file),
            )
        return self._transport

    def _make_verifying(self) -> Verifying:
        options = self._options
        verifier = Verifier(
            self._sending,
            self._clock,
            self._new_id,
            origin=options.verification_origin,
            timeout_s=options.engine.timeout_s,
        )
        return Verifying(
            self._store,
            self._vault,
            self._clock,
            self.audit,
            self._wake,
            default=options.verification,
            challenge=verifier.challenge,
        )

    def _make_engine(self) -> Engine:
        options = self._options
        return Engine(
            self._store,
            self._sending(),
            self._clock,
            self._new_id,
            self.telemetry,
            options.engine,
            self._random,
            rearrange_at_once=options.rearrange_at_once,
        )

    def _lease(self, now_ms: int) -> Lease | None:
        engine = self._engine
        if engine is None:
            return None
        admission = engine.admission()
        until_ms = now_ms + engine.lease_ms
        return Lease(engine.token(), until_ms, admission.admit, admission.left, admission.queued)

    def _check_url(self, url: str) -> None:
        check_url(url, self._options.egress, self.limits.url_chars)

    def _forget_event(self, event_id: str) -> None:
        raw = decode(EVENT, event_id)
        if self._engine is not None and raw is not None:
            self._engine.forget_event(raw)

    def _forget(self, delivery_id: str) -> None:
        raw = decode(DELIVERY, delivery_id)
        if self._engine is not None and raw is not None:
            self._engine.forget(raw)

    def _replay(self) -> None:
        if self._engine is not None:
            self._engine.replay()

    def _rearrange(self) -> None:
        if self._engine is not None:
            self._engine.rearrange()

    def _wake(self) -> None:
        self._expect(0)

    def _expect(self, ready_ms: int) -> None:
        if self._engine is not None:
            self._engine.expect(ready_ms)
