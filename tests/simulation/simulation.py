"""A simulation: ten days of one database, lived by process after process, with everything going wrong now and then."""

import asyncio
import gc
import random
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from tellwire.errors import ConflictError, StoreUnavailableError
from tellwire.hub import Options, Tellwire
from tellwire.model.delivery import State
from tellwire.model.endpoint import EndpointState
from tellwire.model.event import Receipt

from .virtual import Timeline, VirtualLoop
from .world import AUDIT, Crash, Disk, Moods, Sent, SimulatedTransport, driver_of, seconds

KEY = bytes(range(32)).hex()
DAY_S = 86_400.0
PUBLISHING_S = 5 * DAY_S
END_S = 30 * DAY_S

Step = Callable[[Tellwire], Awaitable[None]]


def template(folder: Path) -> Path:
    """A new database with the audit in it, to be copied by each simulation."""
    path = folder / "template.db"
    loop = VirtualLoop(Timeline())

    async def make() -> None:
        tellwire = Tellwire(f"sqlite:///{path}", Options(secret_key=KEY, deliver=False), inline=True)
        await tellwire.open()
        driver = driver_of(tellwire)
        driver.executescript(AUDIT)
        await tellwire.close()

    loop.run_until_complete(make())
    loop.close()
    return path


class Simulation:
    """One seed's ten days. ``run`` lives them; what happened is in ``sent``, ``receipts`` and the database."""

    def __init__(self, seed: int, template: Path, folder: Path) -> None:
        self.seed = seed
        self.path = folder / f"seed{seed}.db"
        # For every other seed each event is a wide one, fanned out in pages.
        self.options = Options(secret_key=KEY, fan_out_at_once=2 if seed % 2 else 500)
        shutil.copy(template, self.path)
        self.chance = random.Random(f"script {seed}")
        self.timeline = Timeline()
        self.sent: list[Sent] = []
        self.receipts: dict[str, Receipt] = {}
        self.by_hand: list[tuple[float, str, str]] = []
        self.troubles: list[tuple[float, float]] = []  # spans in which lateness is excused
        self.crashes = 0
        self.faults: list[object] = []
        self.urls = [f"https://receiver{n}.example/" for n in range(3)]
        gone = 0.04 if seed % 3 == 0 else 0.0
        self.moods = {
            self.urls[0]: Moods(),
            self.urls[1]: Moods(fails=0.6, hangs=0.08),
            self.urls[2]: Moods(fails=0.1, overloaded=0.2, gone=gone) if seed % 4 else Moods(fails=1.0),
        }
        self.endpoint_ids: list[str] = []
        self._plan = self._planned()
        self._settled = False
        self._watch = sqlite3.connect(self.path)
        self._hubs: list[Tellwire] = []
        self._transports: list[SimulatedTransport] = []

    # The script

    def _planned(self) -> list[tuple[float, Step]]:
        chance = self.chance
        steps: list[tuple[float, Step]] = [(0.0, self._create_endpoints)]
        for _ in range(chance.randint(3, 7)):
            steps.append((chance.uniform(1, PUBLISHING_S), self._publish))
        for _ in range(chance.randint(1, 3)):
            at = chance.uniform(1, PUBLISHING_S)
            steps.append((at, self._pause))
            steps.append((at + chance.uniform(60, DAY_S), self._enable_all))
        others = [self._crash, self._crash, self._crash_at_commit, self._fill_disk, self._doubt_disk]
        others += [self._retry_by_hand, self._cancel, self._restart, self._publish_and_crash]
        others += [self._retry_in_flight, self._retry_in_flight]
        for step in others:
            for _ in range(chance.randint(0, 2)):
                steps.append((chance.uniform(1, 1.6 * PUBLISHING_S), step))
        # A last hand for what was disabled on the way; whatever is disabled afterwards may wait.
        steps.append((1.7 * PUBLISHING_S, self._enable_all))
        return sorted(steps, key=lambda step: step[0])

    async def _create_endpoints(self, tellwire: Tellwire) -> None:
        for url in self.urls:
            endpoint, _ = await tellwire.endpoints.create(url, events=["order.*"])
            self.endpoint_ids.append(endpoint.id)

    async def _publish(self, tellwire: Tellwire) -> None:
        key = f"key{len(self.receipts)}" if self.chance.random() < 0.5 else None
        count = self.chance.choice([1, 1, 1, 3])
        events = [{"type": "order.paid", "data": {"n": n}} for n in range(count)]
        if key is not None:
            events[0]["idempotency_key"] = key
        for receipt in await tellwire.publish_many(events):
            self.receipts[receipt.id] = receipt

    async def _publish_and_crash(self, tellwire: Tellwire) -> None:
        await self._publish(tellwire)
        await asyncio.sleep(self.chance.choice([0, 0, 0.01, 0.3, 10]))
        raise Crash

    async def _crash(self, _: Tellwire) -> None:
        raise Crash

    async def _crash_at_commit(self, tellwire: Tellwire) -> None:
        self._disk.crash_at_commit = self.chance.choice(["before", "after"])
        await self._publish(tellwire)

    async def _fill_disk(self, tellwire: Tellwire) -> None:
        until_s = self.timeline.now_s + self.chance.uniform(1, 200)
        self.troubles.append((self.timeline.now_s, until_s + 120))
        self._disk.full_until_s = until_s
        await self._publish(tellwire)

    async def _doubt_disk(self, tellwire: Tellwire) -> None:
        self._disk.uncertain = True
        self.troubles.append((self.timeline.now_s, self.timeline.now_s + 30 + 120))
        asyncio.get_running_loop().call_later(30, self._trust_disk)
        for _ in range(3):
            try:
                await self._publish(tellwire)
            except StoreUnavailableError:
                await asyncio.sleep(1)

    def _trust_disk(self) -> None:
        self._disk.uncertain = False

    async def _pause(self, tellwire: Tellwire) -> None:
        id = self.chance.choice(self.endpoint_ids)
        if self.chance.random() < 0.5:
            await tellwire.endpoints.pause(id)
        else:
            await tellwire.endpoints.disable(id)

    async def _enable_all(self, tellwire: Tellwire) -> None:
        for id in self.endpoint_ids:
            await tellwire.endpoints.enable(id)

    async def _retry_by_hand(self, tellwire: Tellwire) -> None:
        page = await tellwire.deliveries.list(limit=100)
        for delivery in self.chance.sample(page.data, min(3, len(page.data))):
            try:
                await tellwire.deliveries.retry(delivery.id)
                self.by_hand.append((self.timeline.now_s, "retry", delivery.id))
            except ConflictError:
                assert delivery.state is State.CANCELLED

    async def _retry_in_flight(self, tellwire: Tellwire) -> None:
        """Retry what is in the air, so that its answers come too late."""
        await self._publish(tellwire)
        await asyncio.sleep(0.005)  # so that a stale answer is known by when its attempt began
        page = await tellwire.deliveries.list(limit=3, state=State.PENDING)
        for delivery in page.data:
            await tellwire.deliveries.retry(delivery.id)
            self.by_hand.append((self.timeline.now_s, "retry", delivery.id))

    async def _cancel(self, tellwire: Tellwire) -> None:
        page = await tellwire.deliveries.list(limit=100, state=State.PENDING)
        for delivery in page.data[:1]:
            await tellwire.deliveries.cancel(delivery.id)
            self.by_hand.append((self.timeline.now_s, "cancel", delivery.id))

    async def _restart(self, tellwire: Tellwire) -> None:
        raise StopAsyncIteration

    # Life

    def run(self) -> None:
        """Live until nothing is left to do."""
        while not self._settled:
            self._live()
        self._watch.close()

    def _live(self) -> None:
        """One process, from its start to its crash, its restart or the end."""
        loop = VirtualLoop(self.timeline)
        loop.skip_idle_time(self._idle_until)
        asyncio.set_event_loop(loop)
        self._disk = Disk(self.timeline, self.chance)
        processes = 2 if self.seed % 5 == 0 else 1
        try:
            loop.run_until_complete(self._process(processes))
        except Crash:
            self.crashes += 1
            for tellwire in self._hubs:
                self._disk.die(tellwire)
            self.timeline.now_s += self.chance.choice([0.1, 5, 45, 3_600])
        self.faults += loop.faults
        self._hubs, self._transports = [], []
        loop.skip_idle_time(lambda: None)
        loop._ready.clear()  # type: ignore[attr-defined]
        loop._scheduled.clear()  # type: ignore[attr-defined]
        loop.close()
        asyncio.set_event_loop(None)

    async def _process(self, processes: int) -> None:
        # After a start, leases of the dead have to end before all is as usual again.
        self.troubles.append((self.timeline.now_s - 4_000, self.timeline.now_s + 150))
        for number in range(processes):
            born = f"{self.seed} {self.timeline.now_s} {number}"
            transport = SimulatedTransport(self.timeline, hash_of(born), self.sent, self.moods)
            tellwire = Tellwire(
                f"sqlite:///{self.path}",
                self.options,
                clock=self.timeline,
                transport=transport,
                random=random.Random(born),
                inline=True,
            )
            await tellwire.open()
            self._disk.attach(tellwire)
            self._hubs.append(tellwire)
            self._transports.append(transport)
        restart = await self._act()
        for tellwire in self._hubs:
            await tellwire.close()
        self._settled = not restart

    async def _act(self) -> bool:
        """Follow the script as far as it goes; true where the process is to be started again."""
        while self._plan:
            at_s, step = self._plan[0]
            await asyncio.sleep(at_s - self.timeline.now_s)
            self._plan.pop(0)
            try:
                await step(self.chance.choice(self._hubs))
            except StopAsyncIteration:
                return True
            except StoreUnavailableError:
                pass  # told, so not acknowledged
        while self._next_due_s() is not None:
            assert self.timeline.now_s < END_S, "deliveries are still pending"
            await asyncio.sleep(5)  # virtual time: this polls nothing
        return False

    def _idle_until(self) -> float | None:
        """Until shortly before something happens, where nothing is held in memory and the disk is sound."""
        if self.timeline.now_s < self._disk.full_until_s or self._disk.uncertain:
            return None
        if any(tellwire.engine is None or tellwire.engine.held for tellwire in self._hubs) or not self._hubs:
            return None
        times = [
            at for at in (self._next_due_s(), self._plan[0][0] if self._plan else None) if at is not None
        ]
        return min(times) - 0.6 if times else None

    def _next_due_s(self) -> float | None:
        if self._watch.execute("SELECT 1 FROM fanout_pages").fetchone():
            return self.timeline.now_s
        (ready_ms,) = self._watch.execute(
            "SELECT min(coalesce(d.lease_until_ms, d.due_ms)) FROM deliveries d JOIN endpoints e"
            " ON e.id = d.endpoint_id WHERE d.state = 0 AND e.state = 'enabled'"
        ).fetchone()
        return None if ready_ms is None else seconds(ready_ms)

    @property
    def disabled(self) -> set[str]:
        """The urls of endpoints that are not enabled."""
        with sqlite3.connect(self.path) as database:
            rows = database.execute(
                "SELECT url FROM endpoints WHERE state != ?", (EndpointState.ENABLED.value,)
            ).fetchall()
        database.close()
        return {url for (url,) in rows}


def hash_of(text: str) -> int:
    """A number that is the same in every run (``hash`` is not)."""
    return int.from_bytes(text.encode(), "big") % (2**61 - 1)


def collect() -> None:
    """Bury the dead processes now, rather than in the middle of somebody else's test."""
    gc.collect()
