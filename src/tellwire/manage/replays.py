"""Replays: started, looked at, cancelled. The engine works them off (``deliver.replayer``)."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import FieldError, InvalidInputError, LimitExceededError
from tellwire.ids import REPLAY, encode
from tellwire.model.limits import Limits
from tellwire.model.page import Page
from tellwire.model.replay import NOT_ARRIVED, Again, Criteria, Replay, ReplayState
from tellwire.policy.matching import check_patterns
from tellwire.store import replays
from tellwire.store.store import Store

from .asked import asked_limit, asked_ms
from .audit import Audit, Note

_DAY_MS: Final = 86_400_000


class Replays:
    """Start, look at and cancel replays."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[], bytes],
        limits: Limits,
        wake: Callable[[], None],
        audit: Audit,
    ) -> None:
        """``wake`` tells the engine of this process that there is a replay."""
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._wake = wake
        self._audit = audit

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
        """Send to an endpoint again, in the background.

        Either a range of time: of the events of its tenant that were published in it and are of one of the ``types``,
        those at which it has a delivery in one of the ``states``, or none (``Again.MISSING``) although its present
        subscriptions and filters want them. Or one ``event``, whatever became of it and whatever the endpoint is
        subscribed to; one that is pending is left as it is.

        Args:
            endpoint: its id.
            since, until: [since, until); ``until`` is now if not given, or if it lies ahead.
            types: patterns; all types if not given.
            states: exhausted and missing if not given.
            event: the id of an event of the endpoint's tenant.
            dry_run: only count.

        Raises:
            NotFoundError: there is no such endpoint, or its tenant has no such event.
            InvalidInputError: every fault, by field.
            LimitExceededError: the range is too wide, or too many replays of this endpoint run already.
        """
        now_ms = self._clock.now_ms()
        if event is None:
            criteria = self._range(since, until, types, states, now_ms)
        elif since or until or types is not None or states is not None:
            raise InvalidInputError.at("event", msg="give either an event, or a range with types and states")
        else:
            criteria = Criteria(0, 0, states=tuple(Again), event=event)
        id, most = self._new_id(), self._limits.replays_per_endpoint

        def start(connection: Connection, note: Note) -> Replay:
            count = replays.create(connection, id, endpoint, criteria, dry_run=dry_run, now_ms=now_ms)
            if count > most:
                fault = FieldError((), f"{most} replays of endpoint {endpoint!r} run, which is the limit")
                raise LimitExceededError([fault], limit="replays_per_endpoint", maximum=most)
            replay = replays.get(connection, encode(REPLAY, id))
            note(replay.id, replay.tenant, None, replay)
            return replay

        replay = await self._audit.write("replay.started", start)
        self._wake()
        return replay

    async def get(self, id: str) -> Replay:
        """One replay with its progress. Raises NotFoundError."""
        return await self._store.read(lambda connection: replays.get(connection, id))

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
        limit = asked_limit(limit, self._limits)
        return await self._store.read(
            lambda connection: replays.list_page(
                connection, tenant=tenant, endpoint=endpoint, state=state, limit=limit, cursor=cursor
            )
        )

    async def cancel(self, id: str) -> Replay:
        """End a running replay where it stands; the few deliveries that it has made due are still sent.

        Raises NotFoundError; ConflictError where it has ended already.
        """
        now_ms = self._clock.now_ms()

        def cancel(connection: Connection, note: Note) -> Replay:
            before = replays.get(connection, id)
            after = replays.cancel(connection, id, now_ms=now_ms)
            note(id, after.tenant, before, after)
            return after

        return await self._audit.write("replay.cancelled", cancel)

    def _range(
        self,
        since: datetime | None,
        until: datetime | None,
        types: Sequence[str] | None,
        states: Sequence[Again] | None,
        now_ms: int,
    ) -> Criteria:
        if since is None:
            raise InvalidInputError.at("since", msg="is missing: say from when on, or give one event")
        since_ms, until_ms = asked_ms("since", since) or 0, asked_ms("until", until)
        until_ms = now_ms + 1 if until_ms is None else min(until_ms, now_ms + 1)
        faults: list[FieldError] = []
        if since_ms >= until_ms:
            faults.append(FieldError(("since",), "must lie before until, and not ahead"))
        if types is not None:
            faults += [fault.under("types") for fault in check_patterns(types, self._limits)]
        if states is not None and not states:
            faults.append(FieldError(("states",), f"name at least one of {', '.join(Again)}"))
        if faults:
            raise InvalidInputError(faults)
        most = self._limits.replay_range_days
        if until_ms - since_ms > most * _DAY_MS:
            fault = FieldError(("since",), f"the range is longer than {most} days: replay it in parts")
            raise LimitExceededError([fault], limit="replay_range_days", maximum=most)
        wanted = NOT_ARRIVED if states is None else tuple(dict.fromkeys(states))
        return Criteria(since_ms, until_ms, tuple(dict.fromkeys(types or ())), wanted)
