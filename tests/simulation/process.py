"""One process of a simulation: an event loop, a clock and a Tellwire of its own. It can die between any two steps."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from tellwire.clock import Clock
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.lanes import LaneBounds
from tellwire.errors import ClosedError, StoreUnavailableError
from tellwire.hub import Tellwire
from tellwire.options import Options
from tellwire.policy.retry import RetrySchedule
from tellwire.signing.vault import Vault
from tellwire.store.store import Store
from tellwire.telemetry import DeliveriesRescued, EngineFaulted, Fact, ResultsDropped

from .clocks import DRIFT, HostClock, MeasuredClock
from .database import SKIPPED, SharedStore, Trouble, Weather
from .receivers import Moods, Sent, SimulatedTransport
from .virtual import ProcessLoop, Timeline

KEY = bytes(range(32)).hex()
SCHEDULE = RetrySchedule((2_000, 10_000, 45_000, 120_000, 300_000))
LEASE_MS = 60_000
SLOW_POLL_S = 31.0
"""Within this time a process finds what it was not told of."""
_HEARS_S = 1.0
"""Within this time a process has taken in what it was told."""
_LOOKS_ANYHOW_S = 11.0
"""Within this time it looks through all lanes, although it was told nothing."""
_NARROW = LaneBounds(per_endpoint=1, per_process=2, held=4)
"""So few slots that claims wait in lanes and backlogs in the store, for every other seed."""


class World(Protocol):
    """What a process finds around it."""

    seed: int
    path: Path
    timeline: Timeline
    order: "count[int]"
    weather: Weather
    moods: dict[str, Moods]
    sent: list[Sent]
    happened: Counter[str]
    processes: "list[Process]"
    skew_s: float
    measured: bool
    """Whether processes go by the server's clock, as they measure it, or by that of their host."""
    at_once: int
    """How many deliveries of an event are made at once; the rest follows in pages."""
    rearrange_at_once: int
    """How many deliveries take their places in a new order at once; beyond, in pages of so many."""

    def note(self, text: str) -> None:
        """Write a line of the trace."""


class Process:
    """A worker (with an engine) or an API process (without)."""

    def __init__(self, name: str, world: World, *, engine: bool) -> None:
        self.name = name
        self.engine = engine
        self.alive = True
        self.stopping = False
        self.died_s = math.inf
        self.stopped: tuple[float, float, int] | None = (
            None  # asked at, done at, and when among all that happened
        )
        self.frozen = False
        self.lives: int | None = None  # steps until it dies
        self.dies_when: str | None = None  # a moment of a commit
        self.unwell: list[tuple[float, float]] = []  # spans in which it could not work as it should
        self.loop = ProcessLoop(world.timeline)  # type: ignore[abstract]  # I/O is what is missing
        self.weather = Weather(world.timeline)
        self.mishaps: list[str] = []
        self._hears_until_s = 0.0
        self._world = world
        self._chance = random.Random(f"{world.seed} {name}")
        chance, skew_s = self._chance, world.skew_s
        self.host = HostClock(world.timeline, chance.uniform(-skew_s, skew_s), chance.uniform(-DRIFT, DRIFT))
        self._measured = MeasuredClock(world.timeline, self.host)
        self._store: SharedStore | None = None
        self._stop = asyncio.Event()
        self.tellwire = self._make()
        self.is_open = False
        self._tasks = [self.loop.create_task(self._live())]

    def do(self, what: Callable[[Tellwire], Awaitable[None]]) -> None:
        """Have it do something, as a request to its API would."""

        async def do() -> None:
            try:
                await what(self.tellwire)
            except (StoreUnavailableError, ClosedError):
                self.count("refused")  # told, so not acknowledged
            except Exception as error:
                self.mishaps.append(repr(error))

        # Kept, so that what a crash leaves behind is not collected before all is over.
        self._tasks.append(self.loop.create_task(do()))

    def stop(self) -> None:
        """End gracefully, as on SIGTERM."""
        self.stopping = True
        self.do(self._set_stop)

    def step(self) -> None:
        """Run one callback, perhaps its last."""
        if self.lives is not None:
            if self.lives <= 0:
                self.die("between two steps")
                return
            self.lives -= 1
        self.loop.step()
        if self.loop.faults:
            self.mishaps += self.loop.faults
            self.loop.faults.clear()

    def die(self, where: str) -> None:
        """As on SIGKILL."""
        self.alive, self.died_s = False, self._world.timeline.now_s
        self.unwell.append((self._world.timeline.now_s, self._world.timeline.now_s + 0.001))
        self._world.note(f"{self.name} dies {where}")
        self._world.happened["crash"] += 1

    def bury(self) -> None:
        """All is over: close the files that the dead left open."""
        if self._store is not None:
            self._store.abandon()

    @property
    def idle(self) -> bool:
        """Whether it holds no claims, waits for no answer and knows all news, so that it only looks now and then."""
        engine, store = self.tellwire.engine, self._store
        busy = self.stopping or (store and store.busy) or (engine and engine.held)
        return self.is_open and not busy and self._world.timeline.now_s >= self._hears_until_s

    # What the database knows of it

    def has(self, trouble: Trouble) -> bool:
        return self.weather.has(trouble) or self._world.weather.has(trouble)

    async def reached(self, moment: str) -> None:
        if self.dies_when == moment:
            self._world.happened[f"crash {moment}"] += 1
            self.die(moment)
            await self.loop.create_future()

    def count(self, what: str) -> None:
        self._world.happened[what] += 1
        if what == SKIPPED:  # what was skipped is found at the next slow poll
            self.unwell.append((self._world.timeline.now_s, self._world.timeline.now_s + SLOW_POLL_S))

    def tell_others(self, ready_ms: int) -> None:
        for other in self._world.processes:
            if other is self or not other.is_open:
                continue
            lost = other.has(Trouble.DEAF)
            other.takes_in(_LOOKS_ANYHOW_S if lost else _HEARS_S)
            if lost:
                self.count("notification lost")
            elif self._chance.random() < 0.02:
                # Lost with the connection that was to bring it: the next one finds that something may have happened.
                self.count("notification lost")
                other.loop.call_later(self._chance.uniform(0.05, 0.5), other.hear, 0)
            else:
                other.loop.call_later(self._chance.uniform(0, 0.02), other.hear, ready_ms)

    def takes_in(self, span_s: float) -> None:
        """Something has happened that it hears of, or finds, within that time."""
        self._hears_until_s = max(self._hears_until_s, self._world.timeline.now_s + span_s)

    def hear(self, ready_ms: int) -> None:
        """A notification has arrived."""
        if self._store is not None and self.is_open:
            self._store.hear(ready_ms)

    # Its life

    def _make(self) -> Tellwire:
        world = self._world
        transport = SimulatedTransport(
            self.name,
            world.timeline,
            self._measured,
            world.order.__next__,
            random.Random(f"{world.seed} {self.name} receivers"),
            world.sent,
            world.moods,
        )
        tellwire = Tellwire(
            f"sqlite:///{world.path}",
            Options(
                secret_key=KEY,
                deliver=self.engine,
                fan_out_at_once=world.at_once,
                rearrange_at_once=world.rearrange_at_once,
                engine=EngineOptions(
                    schedule=SCHEDULE,
                    lease_s=LEASE_MS / 1000,
                    bounds=_NARROW if world.seed % 2 else LaneBounds(),
                    prolong_from=2,
                ),
            ),
            transport=transport,
            random=self._chance,
            make_store=self._make_store,
        )
        tellwire.telemetry.subscribe(self._hear_fact)
        return tellwire

    def _make_store(
        self, url: str, secret_key: str | None, *, clock: Clock | None, on_ready: Callable[[int], None]
    ) -> tuple[Store, Vault, Clock]:
        vault = Vault.from_setting(KEY)
        self._store = SharedStore(
            self._world.path,
            vault,
            self,
            self._world.timeline,
            self._measured,
            self._world.order.__next__,
            random.Random(f"{self._world.seed} {self.name} network"),
            on_ready,
        )
        return self._store, vault, self._measured.clock if self._world.measured else self.host

    async def _live(self) -> None:
        await self.tellwire.open()
        self.is_open = True
        self._world.note(f"{self.name} has started")
        await self._stop.wait()
        asked_s = self.loop.time()
        await self.tellwire.close()
        self.stopped = asked_s, self.loop.time(), next(self._world.order)
        self.is_open = self.alive = False
        self._world.note(f"{self.name} has stopped")
        self._world.happened["graceful stop"] += 1

    async def _set_stop(self, _: Any) -> None:
        self._stop.set()

    def _hear_fact(self, fact: Fact) -> None:
        if isinstance(fact, EngineFaulted):
            self.mishaps.append(str(fact))
        elif isinstance(fact, ResultsDropped):
            self._world.happened["late result dropped"] += fact.deliveries
        elif isinstance(fact, DeliveriesRescued):
            self._world.happened["rescued"] += fact.deliveries
