"""The recorder: writes what attempts showed, many at a time, each guarded by its lease.

An outcome whose lease has passed to somebody else is dropped: the newer claim decides, and nothing is overwritten. If
the store cannot be written, results are kept and tried again; if that outlasts their leases, the deliveries are sent
again, which is what at-least-once means.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import StoreUnavailableError
from tellwire.ids import DELIVERY, ENDPOINT, encode
from tellwire.model.attempt import Evidence
from tellwire.model.claim import Claim
from tellwire.model.delivery import EXPIRED, TRANSITIONS, Move, State
from tellwire.model.operational import Happening
from tellwire.model.trace import trace_id_of
from tellwire.policy.outcome import Verdict
from tellwire.store.announcer import Announcer
from tellwire.store.order import step_aside
from tellwire.store.roster import LiveEndpoint
from tellwire.store.rows import AttemptRow, Outcome
from tellwire.store.store import Store
from tellwire.store.tables import STATE_CODES
from tellwire.store.tallies import Tallies
from tellwire.telemetry import AttemptFinished, EndpointDisabled, ResultsDropped, StoreFailed, Telemetry

from .announcing import exhausted
from .disabling import disable
from .expirer import expired

_MAX_PER_COMMIT = 1_000
_RETRY_AFTER_S = 0.5
_GONE = "the endpoint answered 410 Gone"


class Result(msgspec.Struct, eq=False, gc=False):
    """One attempt that ended: its claim, what it showed and what follows."""

    claim: Claim
    endpoint: LiveEndpoint
    evidence: Evidence
    verdict: Verdict
    started_ms: int
    ended_ms: int

    @property
    def due_ms(self) -> int | None:
        """When the next attempt is due, or None."""
        retry_in_ms = self.verdict.retry_in_ms
        return None if retry_in_ms is None else self.ended_ms + retry_in_ms

    @property
    def steps_aside(self) -> bool:
        """Whether the delivery is exhausted and blocks nothing that stands behind it in order.

        One that has expired never does: it is not worth waiting for.
        """
        verdict = self.verdict
        if verdict.move is not Move.EXHAUST:
            return False
        return verdict.expired or self.endpoint.settings.on_exhausted == "continue"

    @property
    def age_ms(self) -> int:
        """How long ago the event was published, or was to be delivered, when the attempt ended."""
        return max(self.ended_ms - self.claim.event_ms, 0)


class Recorder:
    """Makes results durable and tells when they are."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[], bytes],
        telemetry: Telemetry,
        settled: Callable[[Result], None],
        recorded: Callable[[], None],
        announcer: Announcer,
    ) -> None:
        """``settled`` is called for each result that is durable or dropped, ``recorded`` after each transaction."""
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._telemetry = telemetry
        self._settled = settled
        self._recorded = recorded
        self._announcer = announcer
        self._loop = asyncio.get_running_loop()
        self._write = store.batched(
            self._run, self._done, max_weight=_MAX_PER_COMMIT, patient=True, stage="record"
        )

        self._write_together = store.batched(
            self._run_together,
            self._done_together,
            max_weight=_MAX_PER_COMMIT,
            weigh=len,
            patient=True,
            stage="record",
        )

    def record(self, result: Result, *, hurry: bool = False) -> None:
        """Have ``result`` written with the next transaction; ``hurry`` where its lane has nothing else to do."""
        self._write.submit(result, hurry=hurry)

    def record_together(self, results: list[Result]) -> None:
        """Have the results of one request written in one transaction."""
        self._write_together.submit(results)

    def _run(self, connection: Connection, results: list[Result]) -> list[Any]:
        held = self._store.hot.record(
            connection,
            [_outcome(result) for result in results],
            [self._attempt(result) for result in results],
        )
        aside = [
            result.claim.delivery_id
            for result in results
            if result.claim.sequence is not None and result.steps_aside and result.claim.delivery_id in held
        ]
        step_aside(connection, aside)
        self._count(connection, results, held)
        for result in results:
            if result.verdict.disable_endpoint and result.claim.delivery_id in held:
                disable(
                    connection,
                    self._announcer,
                    self._new_id,
                    result.claim.endpoint_id,
                    _GONE,
                    now_ms=self._clock.now_ms(),
                )
        if self._announcer.listens:
            self._announcer.announce(connection, _exhausted(results, held))
        return [result.claim.delivery_id in held for result in results]

    def _done(self, results: list[Result], outcomes: list[Any]) -> None:
        dropped = 0
        for result, outcome in zip(results, outcomes, strict=True):
            if isinstance(outcome, StoreUnavailableError):
                self._loop.call_later(_RETRY_AFTER_S, self.record, result)
                continue
            self._settled(result)
            if outcome is not True:
                dropped += 1
            elif self._telemetry.active:
                self._tell(result)
        self._recorded()
        self._announcer.told()
        if dropped:
            self._telemetry.emit(ResultsDropped(dropped))
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if failures:
            self._telemetry.emit(StoreFailed("record", str(failures[0])))

    def _run_together(self, connection: Connection, items: list[list[Result]]) -> list[Any]:
        outcomes = iter(self._run(connection, [result for results in items for result in results]))
        return [[next(outcomes) for _ in results] for results in items]

    def _done_together(self, items: list[list[Result]], outcomes: list[Any]) -> None:
        for results, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, StoreUnavailableError):
                self._loop.call_later(_RETRY_AFTER_S, self.record_together, results)
                self._telemetry.emit(StoreFailed("record", str(outcome)))
            else:
                self._done(results, outcome if isinstance(outcome, list) else [outcome] * len(results))

    def _count(self, connection: Connection, results: list[Result], held: set[bytes]) -> None:
        """Have the statistics know what this transaction does."""
        tallies = Tallies()
        for result in results:
            claim, evidence = result.claim, result.evidence
            if claim.delivery_id not in held:
                continue
            tenant, endpoint_id = result.endpoint.tenant, claim.endpoint_id
            tallies.attempt(tenant, endpoint_id, result.started_ms, evidence.duration_ms, evidence.succeeded)
            state = TRANSITIONS[State.PENDING, result.verdict.move]
            if state is not State.PENDING:
                tallies.ended(tenant, endpoint_id, state, result.ended_ms, took_ms=result.age_ms)
        entries = tallies.encoded()
        if entries:
            self._store.hot.append_tallies(connection, entries)

    def _attempt(self, result: Result) -> AttemptRow:
        claim, evidence = result.claim, result.evidence
        return AttemptRow(
            claim.delivery_id,
            claim.attempt_count + 1,
            self._new_id(),
            result.started_ms,
            evidence.duration_ms,
            evidence.status_code,
            evidence.error and str(evidence.error),
            evidence.detail,
            msgspec.json.encode(evidence.response_headers),
            evidence.response_body,
            claim.trigger,
        )

    def _tell(self, result: Result) -> None:
        claim, evidence, verdict = result.claim, result.evidence, result.verdict
        self._telemetry.emit(
            AttemptFinished(
                event_id=claim.event_text_id,
                delivery_id=encode(DELIVERY, claim.delivery_id),
                endpoint_id=result.endpoint.text_id,
                tenant=result.endpoint.tenant,
                type=claim.type,
                number=claim.attempt_count + 1,
                trigger=claim.trigger,
                state=TRANSITIONS[State.PENDING, verdict.move],
                status_code=evidence.status_code,
                error=evidence.error,
                detail=evidence.detail,
                duration_ms=evidence.duration_ms,
                age_ms=result.age_ms,
                retry_in_ms=verdict.retry_in_ms,
                started_ms=result.started_ms,
                trace_id=None if claim.traceparent is None else trace_id_of(claim.traceparent),
                traceparent=claim.traceparent,
            )
        )
        if verdict.expired:
            self._telemetry.emit(expired(claim, result.endpoint, claim.attempt_count + 1))
        if verdict.disable_endpoint:
            self._telemetry.emit(EndpointDisabled(encode(ENDPOINT, claim.endpoint_id), "410 Gone"))


def _exhausted(results: list[Result], held: set[bytes]) -> Iterator[Happening]:
    """What is announced of the deliveries that ended without success; never of those of announcements."""
    for result in results:
        ended = TRANSITIONS[State.PENDING, result.verdict.move] is State.EXHAUSTED
        if ended and result.claim.delivery_id in held:
            yield from exhausted(
                result.claim,
                result.endpoint,
                attempts=result.claim.attempt_count + 1,
                status_code=result.evidence.status_code,
                error=_last_error(result),
            )


def _last_error(result: Result) -> str | None:
    error = result.evidence.error
    return EXPIRED if result.verdict.expired else error and str(error)


def _outcome(result: Result) -> Outcome:
    claim, evidence, verdict = result.claim, result.evidence, result.verdict
    return Outcome(
        claim.delivery_id,
        claim.token,
        STATE_CODES[TRANSITIONS[State.PENDING, verdict.move]],
        claim.attempt_count + 1,
        claim.schedule_step + 1,
        result.due_ms,
        evidence.status_code,
        _last_error(result),
        None if verdict.move is Move.RETRY_LATER else result.ended_ms,
    )
