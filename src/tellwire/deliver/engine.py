"""The engine: wires claimer, lanes, executor and recorder together, starts them and stops them gracefully.

published claims ---+
fanner, replayer -+ |
                  v v
claimer ---------> lanes ---> executor ---> recorder ---> store
   ^                                            |
   +--- due again, room again ------------------+
"""

import asyncio
import random as _random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from tellwire.clock import Clock
from tellwire.ending import end
from tellwire.errors import StoreError
from tellwire.ids import DELIVERY, encode
from tellwire.model.claim import Claim
from tellwire.policy.retry import RetrySchedule
from tellwire.store.announcer import Announcer
from tellwire.store.rearranging import AT_ONCE
from tellwire.store.roster import LiveEndpoint
from tellwire.store.store import Store
from tellwire.telemetry import EngineFaulted, Telemetry

from .admission import Admission
from .announcing import Announcing
from .circuits import Circuits
from .claimer import Claimer
from .credentials import Credentials
from .executor import Executor
from .expirer import Expirer
from .fanner import Fanner
from .holding import Holding
from .holds import Holds
from .lane import Lane
from .lanes import LaneBounds, Lanes, Load
from .leases import Claiming, LeaseKeeper
from .ownership import Ownership
from .prolonging import Prolonging
from .pruner import Pruner
from .rearranger import Rearranger
from .recorder import Recorder, Result
from .remover import Remover
from .replayer import Replayer
from .roller import Roller
from .sequences import PROLONG_FROM
from .transport import Transport
from .watcher import Watcher
from .yielding import Yielding

_ANSWER_MARGIN_MS: Final = 5_000
_RESTART_AFTER_S: Final = 1.0


class EngineOptions(msgspec.Struct, frozen=True):
    """How the engine works; see docs/reference/settings.md. ``prolong_from`` is no setting: see ``sequences``."""

    schedule: RetrySchedule = RetrySchedule()
    timeout_s: float = 15.0
    bounds: LaneBounds = LaneBounds()
    grace_s: float = 20.0
    lease_s: float = 60.0
    retention_days: int = 30
    payload_retention_days: int = 30
    disable_after_days: int = 5
    stats_retention_days: int = 400
    prolong_from: int = PROLONG_FROM


class Engine:
    """Delivers. Make one in a running event loop, ``start`` it, and ``stop`` it in the end."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        clock: Clock,
        new_id: Callable[[], bytes],
        telemetry: Telemetry,
        options: EngineOptions,
        random: _random.Random | None = None,
        *,
        rearrange_at_once: int = AT_ONCE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._transport = transport
        self._grace_s = options.grace_s
        needed_ms = int(options.timeout_s * 1000) + _ANSWER_MARGIN_MS
        # An attempt begins only if its answer will come within the lease, so half a lease must be enough for one.
        self.lease_ms = max(int(options.lease_s * 1000), 2 * needed_ms)
        # Chance spreads retries and tells leases apart; nothing secret hangs on it.
        self._random = random or _random.Random()  # noqa: S311 - see above
        # In order, and not by delivery: after a retry by hand there may be two claims of one.
        self._held: dict[Claim, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._agents: list[asyncio.Task[None]] = []
        self._last_agents: list[asyncio.Task[None]] = []
        self._stopped = False
        self._lanes = Lanes(options.bounds, self._start, clock, Yielding(), self._endpoint)
        self._releases = store.batched(self._release, self._released, max_weight=1_000, stage="release")
        owner = self.token()
        self._holding = Holding(store, self._lanes, clock, telemetry, owner=owner)
        self._ownership = Ownership(
            store,
            clock,
            telemetry,
            owner=owner,
            lease_ms=self.lease_ms,
            needed_ms=needed_ms,
            busy=self._lanes.is_busy,
        )
        self._roller = Roller(store, telemetry)
        announcer = Announcer(store, clock, new_id, self._announced)
        self._recorder = Recorder(
            store, clock, new_id, telemetry, self._settled, self._roller.wake, announcer
        )
        self._credentials = Credentials(transport, options.timeout_s)
        self._holds = Holds(store, self._lanes, clock, telemetry, self._go_on)
        self._watcher = Watcher(store, clock, new_id, telemetry, options.disable_after_days, announcer)
        self._executor = self._make_executor(options, needed_ms, announcer)
        claiming = Claiming(self.token, self.lease_ms, self.offer, self.admission, self.claim_in)
        self._fanner = Fanner(
            store, self._lanes, clock, telemetry, new_id=new_id, claiming=claiming, expect=self.expect
        )
        self.fan_out = self._fanner.wake
        """Tells that pages of wide events wait in the store."""
        self._replayer = Replayer(
            store,
            self._lanes,
            clock,
            telemetry,
            new_id=new_id,
            claiming=claiming,
            retention_days=options.retention_days,
        )
        self.replay = self._replayer.wake
        """Tells that a replay waits in the store."""
        self._claimer = Claimer(
            store,
            self._lanes,
            clock,
            telemetry,
            claiming=claiming,
            ownership=self._ownership,
            holds=self._holds,
            fan_out=self.fan_out,
            prolong_from=options.prolong_from,
        )
        self._prolonging = Prolonging(
            store,
            self._lanes,
            clock,
            self.lease_ms,
            take_turns=self._claimer.take_turns,
            prolonged=self._prolonged,
        )
        self._keeper = LeaseKeeper(store, clock, telemetry, self.lease_ms, lambda: list(self._held))
        self._pruner = Pruner(
            store,
            clock,
            telemetry,
            options.retention_days,
            options.payload_retention_days,
            options.stats_retention_days,
        )
        self._remover = Remover(store, clock, telemetry)
        self._rearranger = Rearranger(
            store, clock, telemetry, claim_in=self.claim_in, at_once=rearrange_at_once
        )
        self.rearrange = self._rearranger.wake
        """Tells that the order of an endpoint has changed at which much waits."""

    def _make_executor(self, options: EngineOptions, needed_ms: int, announcer: Announcer) -> Executor:
        store, clock, telemetry = self._store, self._clock, self._telemetry
        announcing = Announcing(store, telemetry, announcer)
        circuits = Circuits(self._lanes, clock, telemetry, self._give_back, announcing)
        return Executor(
            store,
            self._transport,
            self._credentials,
            self._recorder,
            Expirer(store, clock, telemetry, self._expired, announcer),
            clock,
            telemetry=telemetry,
            schedule=options.schedule,
            random=self._random,
            let_go=self._let_go,
            let_one_go=self._let_one_go,
            owns=self._ownership.holds,
            changed=self._lanes.of,
            may_send=self._lanes.may_send,
            judged=circuits.judged,
            lease_ms=self.lease_ms,
            needed_ms=needed_ms,
            ended=self._watcher.ended,
            hold=self._holds.hold,
        )

    def _endpoint(self, id: bytes) -> LiveEndpoint | None:
        return self._store.roster.endpoints.get(id)

    async def start(self) -> None:
        """Begin to claim and deliver, but not where receivers have told others to stay away."""
        with suppress(StoreError):  # then it is heard at the first survey
            await self._holds.look()
        agents = {
            "claimer": self._claimer.run,
            "fanner": self._fanner.run,
            "holding": self._holding.run,
            "leases": self._keeper.run,
            "ownership": self._ownership.run,
            "pruner": self._pruner.run,
            "rearranger": self._rearranger.run,
            "remover": self._remover.run,
            "watcher": self._watcher.run,
            "replayer": self._replayer.run,
            "roller": self._roller.run,
        }
        last_agents = {"holds": self._holds.run}
        self._agents = [self._begin(name, run) for name, run in agents.items()]
        self._last_agents = [self._begin(name, run) for name, run in last_agents.items()]

    async def stop(self) -> None:
        """Stop claiming, let what is in the air land within the grace period, record it, give the rest back."""
        self._stopped = True
        self._holds.stop()
        await end(self._agents)
        for claim in self._lanes.stop():
            self._give_back(claim)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._grace_s)
        # Until then others hear what those answers ask for.
        await end([*self._tasks, *self._last_agents])
        await self._credentials.aclose()
        # A last transaction: when it is through, so is everything that was submitted before it.
        await self._flush()

    def _begin(self, name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep_running(name, run), name=f"tellwire-{name}")

    async def _keep_running(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """An agent outlives its own faults: they are told, and it begins anew."""
        while True:
            try:
                await run()
            except Exception as error:
                self._telemetry.emit(EngineFaulted(name, repr(error)))
            await asyncio.sleep(_RESTART_AFTER_S)

    async def _flush(self) -> None:
        try:
            await self._store.write(lambda _: None)
            await self._holds.write()
            await self._ownership.give_up()
        except Exception:  # noqa: S110 - what could not be recorded is sent again when its lease ends
            pass

    def load(self) -> Load:
        """How much there is to do in this process at this moment."""
        return self._lanes.load(self._clock.now_ms())

    @property
    def in_flight(self) -> int:
        """How many attempts are in the air."""
        return self._lanes.in_flight

    @property
    def held(self) -> int:
        """How many claims are in memory."""
        return len(self._held)

    def token(self) -> int:
        """A new lease token: unlike every other, whichever process made it (63 random bits)."""
        return self._random.getrandbits(63)

    def admission(self) -> Admission:
        """For one publish transaction: which deliveries may be born claimed by this engine."""
        return Admission(self._lanes, self._ownership.holds)

    def offer(self, claims: list[Claim]) -> None:
        """Take claims that are durable, and send them as soon as their lanes have slots."""
        for claim in claims:
            self._hold(claim)
            if self._stopped:
                self._give_back(claim)
            else:
                self._lanes.take(claim)

    def _hold(self, claim: Claim) -> None:
        """Have leases extended: also of those that follow, or go along."""
        one: Claim | None = claim
        while one is not None:
            self._held[one] = None
            for other in one.along:
                self._held[other] = None
            one = one.follower

    def _prolonged(self, last: Claim, claim: Claim) -> None:
        """More is claimed behind the last of a run: it follows, if that is still to be received."""
        if last.received:
            self.offer([claim])
        elif last.received is None and last in self._held:
            last.follower, last.last = claim, False
            self._hold(claim)
            self._lanes.hold(self._lanes[claim.endpoint_id], claim)
        else:
            self._give_back(claim)

    def claim_in(self, endpoint_ids: Iterable[bytes]) -> None:
        """There is something to claim in these lanes, now."""
        now_ms = self._clock.now_ms()
        for endpoint_id in endpoint_ids:
            self._claimer.expect(endpoint_id, now_ms)

    def queued(self, endpoint_ids: Iterable[bytes]) -> None:
        """What stands behind the backlogs of these lanes is durable. Who claimed in them may not have seen it yet."""
        for endpoint_id in endpoint_ids:
            if not self._lanes[endpoint_id].backlog:
                self._claimer.supply(endpoint_id)

    def _announced(self, endpoint_ids: set[bytes], paged: bool) -> None:
        self.claim_in(endpoint_ids)
        if paged:
            self.fan_out()

    def forget(self, delivery_id: bytes) -> None:
        """A delivery was cancelled: if it still waits here, it is not sent any more."""
        for claim in self._held:
            if claim.delivery_id == delivery_id:
                claim.lease_until_ms = 0

    def forget_event(self, event_id: bytes) -> None:
        """The same for all deliveries of an event."""
        for claim in self._held:
            if claim.event_id == event_id:
                claim.lease_until_ms = 0

    def expect(self, ready_ms: int) -> None:
        """From ``ready_ms`` on something may be claimed that this engine does not know of; 0: now."""
        self._claimer.expect_anywhere(ready_ms)

    def _start(self, lane: Lane, claim: Claim) -> None:
        task = asyncio.create_task(self._attempts(lane, claim))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempts(self, lane: Lane, claim: Claim) -> None:
        """Fill one slot of a lane: attempt after attempt, as long as the lane has claims for it."""
        next_claim: Claim | None = claim
        while next_claim is not None:
            claim = next_claim
            through = False
            try:
                through = await self._executor.attempt(lane, claim)
            except asyncio.CancelledError:
                self._give_back(claim)
                self._lanes.landed(lane, claim)
                raise
            except Exception as error:
                self._telemetry.emit(EngineFaulted(encode(DELIVERY, claim.delivery_id), repr(error)))
                self._let_go(claim, False)  # another try when the lease ends
            claim.received = through
            if claim.follower is not None or claim.along:
                self._follow(lane, claim, through)
            next_claim = self._lanes.landed(lane, claim)

    def _follow(self, lane: Lane, claim: Claim, through: bool) -> None:
        """Let what follows a claim be sent if that was received, and else go back: it has to wait."""
        for one in (claim, *claim.along):
            follower, one.follower = one.follower, None
            if follower is None:
                continue
            if through and not self._stopped:
                self._lanes.follow(lane, follower)
            else:
                one.last = True  # so that its end, if it is to come, is looked behind
                self._give_back(follower)

    def _go_on(self, lane: Lane) -> None:
        """A lane that was held back may send again: what waits in it, then what it has left in the store."""
        self._lanes.go_on(lane)
        if lane.backlog:
            self._claimer.supply(lane.endpoint_id)

    def _give_back(self, claim: Claim) -> None:
        """Release a claim that is not to be sent now, and all that go along or follow."""
        left = [claim]
        while left:
            one = left.pop()
            self._let_one_go(one, True)
            left += one.along
            if one.follower is not None:
                left.append(one.follower)
                one.follower = None

    def _expired(self, claim: Claim) -> None:
        """The delivery of a claim has ended unsent: whoever stands behind it need not wait for it any more."""
        self._let_go(claim, False)
        self._look_behind(claim)

    def _look_behind(self, claim: Claim) -> None:
        """A claim is through: claim what has come up behind it, if it was the last of its run."""
        if claim.sequence is None:
            return
        if claim.more is not None:
            self._prolonging.recorded(claim)
        if claim.last:
            self._claimer.supply(claim.endpoint_id)

    def _let_go(self, claim: Claim, release: bool) -> None:
        self._let_one_go(claim, release)
        for one in claim.along:
            self._let_one_go(one, release)

    def _let_one_go(self, claim: Claim, release: bool) -> None:
        if release:
            self._releases.submit(claim)
        else:
            self._claimer.expect(claim.endpoint_id, claim.lease_until_ms)
        self._drop(claim)

    def _release(self, connection: Connection, claims: list[Claim]) -> list[Any]:
        self._store.hot.release(connection, [(claim.delivery_id, claim.token) for claim in claims])
        return claims

    def _released(self, claims: list[Claim], _: list[Any]) -> None:
        self.claim_in({claim.endpoint_id for claim in claims})

    def _settled(self, result: Result) -> None:
        due_ms = result.due_ms
        if due_ms is not None:
            self._claimer.expect(result.claim.endpoint_id, due_ms)
        else:
            self._look_behind(result.claim)
        self._drop(result.claim)

    def _drop(self, claim: Claim) -> None:
        if claim not in self._held:
            return
        del self._held[claim]
        lane = self._lanes[claim.endpoint_id]
        self._lanes.settled(lane, claim)
        if claim.trigger == "replay":
            self._replayer.wake()  # there is room for more of it
        if lane.backlog and lane.held * 2 <= lane.capacity:
            self._claimer.supply(claim.endpoint_id)
