"""The executor: one attempt from claim to result. Reads aloud: still ours? -> sign -> send -> judge -> record."""

import random as _random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from tellwire.clock import Clock
from tellwire.model.attempt import AttemptError, Evidence
from tellwire.model.claim import Claim
from tellwire.model.endpoint import EndpointState
from tellwire.model.order import WHOLE
from tellwire.policy.circuit import CLOSED
from tellwire.policy.outcome import Verdict
from tellwire.policy.retry import RetrySchedule
from tellwire.policy.shaping import Shapes
from tellwire.policy.transforming import TransformError
from tellwire.store.roster import LiveEndpoint
from tellwire.store.store import Store
from tellwire.telemetry import Telemetry

from .batches import Batches
from .credentials import Credentials
from .expirer import Expirer
from .judging import verdict_of
from .lane import Lane
from .recorder import Recorder, Result
from .request import request_for
from .shaping import Shaped, Shaper
from .transport import USUAL, Manner, Transport

_PUT: Final = Manner(method="PUT")


class Executor:
    """Makes attempts."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        credentials: Credentials,
        recorder: Recorder,
        expirer: Expirer,
        clock: Clock,
        *,
        telemetry: Telemetry,
        schedule: RetrySchedule,
        random: _random.Random,
        let_go: Callable[[Claim, bool], None],
        let_one_go: Callable[[Claim, bool], None],
        owns: Callable[[bytes], bool],
        changed: Callable[[LiveEndpoint], object],
        may_send: Callable[[Lane, Claim], bool],
        judged: Callable[[Lane, LiveEndpoint, bool], None],
        lease_ms: int,
        needed_ms: int,
        ended: Callable[[bytes, int, bool], None],
        hold: Callable[[Lane, int], None],
    ) -> None:
        """``let_go(claim, release)`` gives a claim up unsent with what goes along, ``let_one_go`` only itself; ``owns``
        tells whether an exclusive lane is ours; ``needed_ms`` is what an attempt may take at most.

        ``changed`` hears of an endpoint that is not as its lane knows it, ``may_send`` is asked right before a
        request to one with a rate, a hold or a circuit that is open, ``judged`` whether an attempt that says something
        of its circuit breaker succeeded. ``ended(endpoint_id, at_ms, succeeded)`` is told of every attempt.
        ``hold(lane, until_ms)`` holds a lane back.
        """
        self._store = store
        self._transport = transport
        self._credentials = credentials
        self._shaper = Shaper()
        self._recorder = recorder
        self._expirer = expirer
        self._clock = clock
        self._schedule = schedule
        self._random = random
        self._let_go = let_go
        self._owns = owns
        self._changed = changed
        self._may_send = may_send
        self._judged = judged
        self._needed_ms = needed_ms
        self._ended = ended
        self._hold = hold
        self._batches = Batches(
            store,
            recorder,
            expirer,
            clock,
            telemetry,
            schedule=schedule,
            random=random,
            send=self._send,
            follow=self._follow,
            let_go=let_one_go,
            owns=owns,
            lease_ms=lease_ms,
            needed_ms=needed_ms,
        )

    async def attempt(self, lane: Lane, claim: Claim) -> bool:
        """Send ``claim`` once and have the result recorded, unless it is no longer to be sent, or not by us.

        Gives whether it was received, or is not worth it any more, so that what stands behind it may be sent. That need
        not wait until the result is durable: should that be lost, it is sent again, and so is all that followed.
        """
        endpoint = self._store.roster.endpoints.get(claim.endpoint_id)
        if endpoint is None or endpoint.state is not EndpointState.ENABLED:
            self._let_go(claim, True)
            return False
        if (endpoint.exclusive and not self._owns(endpoint.id)) or claim.order != endpoint.order:
            self._let_go(claim, True)
            return False
        if lane.endpoint is not endpoint:
            self._changed(endpoint)
        if endpoint.settings.batch is not None or claim.along:
            return await self._batches.attempt(lane, claim, endpoint)
        made = None if endpoint.shapes is None else await self._shaped(claim, endpoint, endpoint.shapes)
        started_ms = self._clock.now_ms()
        if claim.expires_ms is not None and claim.expires_ms <= started_ms:
            self._expirer.expire(claim, endpoint)
            return True
        if claim.lease_until_ms - started_ms < self._needed_ms:
            # The answer might come after the lease: somebody else will claim it when the lease ends.
            self._let_go(claim, False)
            return False
        if isinstance(made, Evidence):
            evidence = made
        else:
            headers, body = request_for(claim, endpoint, started_ms, made)
            sent = await self._send(lane, claim, endpoint, headers, body)
            if sent is None:
                self._let_go(claim, True)
                return False
            evidence = sent
        ended_ms = self._clock.now_ms()
        verdict = verdict_of(
            evidence, claim, endpoint, self._schedule, now_ms=ended_ms, random_unit=self._random.random()
        )
        if made is not evidence:  # a request was sent, which says something of the receiver
            self._follow(lane, endpoint, evidence, verdict, ended_ms)
        # The end of a run of a whole endpoint: until it is recorded, nothing that is left in the store can be claimed.
        hurry = lane.backlog and claim.last and claim.sequence == WHOLE
        self._recorder.record(Result(claim, endpoint, evidence, verdict, started_ms, ended_ms), hurry=hurry)
        return evidence.succeeded

    async def _shaped(self, claim: Claim, endpoint: LiveEndpoint, shapes: Shapes) -> Shaped | Evidence:
        """The body that its subscriptions ask for; evidence where there cannot be one, so that nothing is sent."""
        try:
            return await self._shaper.shaped(claim, endpoint.tenant, shapes)
        except TransformError as error:
            return Evidence(error=AttemptError.TRANSFORM, detail=str(error))

    def _send(
        self,
        lane: Lane,
        claim: Claim,
        endpoint: LiveEndpoint,
        headers: dict[str, str],
        body: bytes,
        kept_bytes: int | None = None,
    ) -> Awaitable[Evidence | None]:
        """Send a request as the endpoint's settings say; gives None where its limits forbid it at this moment."""
        manner = USUAL if endpoint.settings.method == "POST" else _PUT
        if kept_bytes is not None:
            manner = msgspec.structs.replace(manner, kept_bytes=kept_bytes)
        authentication = endpoint.settings.authentication
        if authentication is not None:
            may_send = partial(self._may_send, lane, claim)
            return self._credentials.send_if(may_send, authentication, endpoint.url, headers, body, manner)
        held = lane.bucket is not None or lane.is_open or not lane.limit.allowed
        if held and not self._may_send(lane, claim):
            return _nothing()
        return self._transport.send(endpoint.url, headers, body, manner)

    def _follow(
        self, lane: Lane, endpoint: LiveEndpoint, evidence: Evidence, verdict: Verdict, ended_ms: int
    ) -> None:
        """Do to the lane what a request and its verdict say."""
        succeeded = evidence.succeeded
        self._ended(endpoint.id, ended_ms, succeeded)
        _adapt(lane, evidence, verdict.slow_down)
        if verdict.hold_ms:
            self._hold(lane, ended_ms + verdict.hold_ms)
        if not succeeded or lane.circuit is not CLOSED or endpoint.settings.circuit is not None:
            self._judged(lane, endpoint, succeeded)


async def _nothing() -> None:
    """What comes of a request that is not sent."""


def _adapt(lane: Lane, evidence: Evidence, slow_down: bool) -> None:
    lane.took_ms += (evidence.duration_ms - lane.took_ms) / 16
    # A receiver that does not answer in time is overloaded too, and holds slots for longest.
    if slow_down or evidence.error is AttemptError.TIMEOUT:
        lane.limit = lane.limit.slowed()
    elif evidence.succeeded and lane.limit.allowed < lane.limit.maximum:
        lane.limit = lane.limit.recovered()
