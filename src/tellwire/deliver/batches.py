"""Batches: one attempt of several deliveries in one request. Seal -> still ours? -> sign -> send -> judge -> record.

Before it is sent, a batch is sealed: each of its deliveries is marked with its id, in one transaction, if its lease
still holds; what was cancelled meanwhile drops out. So whoever sends it again, after a failure or a crash, sends the
same deliveries with the same ``webhook-id``. The outcome is recorded for each of them, in one transaction too.
"""

import asyncio
import random as _random
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.errors import StoreError
from tellwire.ids import BATCH, encode
from tellwire.model.attempt import Evidence
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.policy.outcome import Verdict
from tellwire.policy.retry import RetrySchedule
from tellwire.store.group_commit import settle
from tellwire.store.roster import LiveEndpoint
from tellwire.store.store import Store
from tellwire.telemetry import BatchSent, StoreFailed, Telemetry

from .batch_request import batch_id_of, batch_request_for
from .expirer import Expirer
from .judging import verdict_of
from .lane import Lane
from .recorder import Recorder, Result

KEPT_BYTES: Final = 512
"""So much is kept of an answer's body with each delivery of a batch."""
_MAX_PER_COMMIT: Final = 2_000


class Send(Protocol):
    """Sends a request as the endpoint's settings say."""

    def __call__(
        self,
        lane: Lane,
        claim: Claim,
        endpoint: LiveEndpoint,
        headers: dict[str, str],
        body: bytes,
        kept_bytes: int | None,
    ) -> Awaitable[Evidence | None]:
        """Gives what came of it, None where it may not be sent now. Never raises, cancellation excepted."""


class _Seal(NamedTuple):
    leases: list[tuple[bytes, int]]
    batch_id: bytes
    until_ms: int


class Batches:
    """Makes attempts that carry several deliveries."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        expirer: Expirer,
        clock: Clock,
        telemetry: Telemetry,
        *,
        schedule: RetrySchedule,
        random: _random.Random,
        send: Send,
        follow: Callable[[Lane, LiveEndpoint, Evidence, Verdict, int], None],
        let_go: Callable[[Claim, bool], None],
        owns: Callable[[bytes], bool],
        lease_ms: int,
        needed_ms: int,
    ) -> None:
        """``let_go(claim, release)`` gives one claim up unsent; ``follow`` does to the lane what a verdict says."""
        self._store = store
        self._recorder = recorder
        self._expirer = expirer
        self._clock = clock
        self._telemetry = telemetry
        self._schedule = schedule
        self._random = random
        self._send = send
        self._follow = follow
        self._let_go = let_go
        self._owns = owns
        self._lease_ms = lease_ms
        self._needed_ms = needed_ms
        self._seals = store.batched(
            self._run,
            settle,
            max_weight=_MAX_PER_COMMIT,
            weigh=lambda item: len(item[0].leases),
            stage="seal",
        )

    async def attempt(self, lane: Lane, claim: Claim, endpoint: LiveEndpoint) -> bool:
        """Send ``claim`` and what goes along once, and have the result recorded for each.

        Gives whether all are received, or not worth it any more, so that what stands behind them may be sent.
        """
        claims = self._worth_it((claim, *claim.along), endpoint)
        if not claims:
            return True
        if endpoint.settings.batch is None:  # any more: what was gathered is sent one by one
            self._give_back(claims)
            return False
        batch_id, claims = await self._sealed(claims)
        current = self._store.roster.endpoints.get(endpoint.id)
        if current is None or current.state is not EndpointState.ENABLED or not self._owns(endpoint.id):
            self._give_back(claims)
            return False
        started_ms = self._clock.now_ms()
        # They end at the same time; if that is too soon, who claims them then finds them together.
        late = [one for one in claims if one.lease_until_ms - started_ms < self._needed_ms]
        for one in late:
            self._let_go(one, False)
        if late or not claims:
            self._give_back([one for one in claims if one not in late])
            return False
        headers, body = batch_request_for(claims, batch_id, endpoint, endpoint.settings.batch, started_ms)
        evidence = await self._send(lane, claim, endpoint, headers, body, KEPT_BYTES)
        if evidence is None:
            self._give_back(claims)
            return False
        self._conclude(lane, endpoint, claims, evidence, started_ms)
        self._telemetry.emit(
            BatchSent(
                batch_id=encode(BATCH, batch_id),
                endpoint_id=endpoint.text_id,
                tenant=endpoint.tenant,
                deliveries=len(claims),
                size_bytes=len(body),
                succeeded=evidence.succeeded,
                duration_ms=evidence.duration_ms,
            )
        )
        return evidence.succeeded

    def _worth_it(self, claims: tuple[Claim, ...], endpoint: LiveEndpoint) -> list[Claim]:
        """Those whose events have not expired; the others end."""
        now_ms = self._clock.now_ms()
        left: list[Claim] = []
        for claim in claims:
            if claim.expires_ms is not None and claim.expires_ms <= now_ms:
                self._expirer.expire(claim, endpoint)
            elif not claim.lease_until_ms:  # cancelled
                self._let_go(claim, False)
            else:
                left.append(claim)
        return left

    async def _sealed(self, claims: list[Claim]) -> tuple[bytes, list[Claim]]:
        """Those that are one batch from now on, and its id; the others are let go."""
        while claims:
            batch_id = batch_id_of(claims)
            if all(claim.batch_id == batch_id for claim in claims):
                return batch_id, claims
            until_ms = self._clock.now_ms() + self._lease_ms
            leases = [(claim.delivery_id, claim.token) for claim in claims]
            sealing: asyncio.Future[set[tuple[bytes, int]]] = asyncio.get_running_loop().create_future()
            self._seals.submit((_Seal(leases, batch_id, until_ms), sealing))
            try:
                held = await sealing
            except StoreError as error:
                self._telemetry.emit(StoreFailed("seal", str(error)))
                held = set()
            # By lease and not by delivery: after a retry by hand there may be two claims of one.
            for claim in claims:
                if (claim.delivery_id, claim.token) in held:
                    claim.batch_id, claim.lease_until_ms = batch_id, until_ms
                else:
                    self._let_go(claim, False)
            kept = [claim for claim in claims if (claim.delivery_id, claim.token) in held]
            if len(kept) < len(claims) and claims[0].sequence is not None:
                # What is lost may have to go first, now that somebody has retried it by hand: look again.
                self._give_back(kept)
                return b"", []
            claims = kept
        return b"", []

    def _run(self, connection: Connection, items: list[tuple[_Seal, Any]]) -> list[Any]:
        return [self._store.hot.seal(connection, *seal) for seal, _ in items]

    def _conclude(
        self, lane: Lane, endpoint: LiveEndpoint, claims: list[Claim], evidence: Evidence, started_ms: int
    ) -> None:
        """Judge what came for each delivery; those that are sent again are so at the same time."""
        ended_ms, chance = self._clock.now_ms(), self._random.random()
        results: list[Result] = []
        for claim in claims:
            verdict = verdict_of(
                evidence, claim, endpoint, self._schedule, now_ms=ended_ms, random_unit=chance
            )
            if results:  # once is enough
                verdict = msgspec.structs.replace(verdict, disable_endpoint=False)
            results.append(Result(claim, endpoint, evidence, verdict, started_ms, ended_ms))
        self._follow(lane, endpoint, evidence, results[0].verdict, ended_ms)
        self._recorder.record_together(results)

    def _give_back(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._let_go(claim, True)
