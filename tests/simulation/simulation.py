"""A simulation: some minutes of several processes on one database, with everything going wrong now and then.

It decides, by chance, whose loop takes the next step; when nobody has one, time passes until somebody has. The same
seed is the same history, to the last step.
"""

import heapq
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tellwire.hub import Tellwire
from tellwire.ids import ENDPOINT, encode
from tellwire.model.event import Receipt
from tellwire.policy.retry import RetrySchedule
from tellwire.signing.secret import generate_symmetric

from . import limits
from .bursts import bursts
from .database import Trouble, Weather
from .observer import seconds
from .process import Process
from .receivers import Moods, Sent
from .script import (
    CALM_S,
    PUBLISHING_S,
    Step,
    changes_of_order,
    enable,
    plan,
    rearranges_in_pages,
    unblock,
)
from .virtual import Timeline

END_S = CALM_S + 3_000

SKEW_S = 15.0
"""How far the clocks of hosts are wrong, at most."""


SOON_MS = (2_000, 5_000)
"""After what times a delivery is tried again at endpoints that block, before it is exhausted."""
ORDERS = ["endpoint", "key", "key"]
ON_EXHAUSTED = ["continue", "continue", "block"]
_REPLAYING = """SELECT 1 FROM replays r JOIN endpoints e ON e.id = r.endpoint_id
    WHERE r.state = 'running' AND (e.state != 'disabled' OR e.deleted_ms IS NOT NULL)"""
"""Whether there is a replay that does not wait for its endpoint."""
_ROOM_TO_REPLAY = f"""{_REPLAYING} AND (e.deleted_ms IS NOT NULL OR NOT EXISTS (SELECT 1 FROM deliveries d
    WHERE d.endpoint_id = e.id AND d.state = 0 AND d."trigger" = 'replay'))"""
"""Whether one of them does not wait for a delivery either that it has made due."""

_OWNERS = """SELECT writer FROM lane_changes WHERE at_order IN
    (SELECT max(at_order) FROM lane_changes WHERE owner IS NOT owner_before GROUP BY endpoint)"""


class Published(NamedTuple):
    """An acknowledged event, and what its publisher knows of it."""

    receipt: Receipt
    began: int
    ended: int
    n: int
    key: str | None


class Hand(NamedTuple):
    """Somebody asked for a delivery to be retried or cancelled; ``told`` was when they heard that it is, of whom."""

    at_s: float
    order: int
    move: str
    delivery: str
    told: int | None = None
    of: str | None = None


class Replayed(NamedTuple):
    """Somebody started a replay; what it has become, the database tells."""

    id: str
    url: str
    began: int
    began_ms: int
    states: tuple[str, ...]


class NewSecret(NamedTuple):
    """A secret that an endpoint was to sign with; ``told_s`` is when whoever asked was told, or None."""

    began: int
    told_s: float | None
    secret: str


class InLine(NamedTuple):
    """The order that an endpoint has, and what blocks there."""

    order: str
    on_exhausted: str


class NewOrder(NamedTuple):
    """An order that an endpoint was to have from now on; ``told_s`` is when whoever asked was told, or None."""

    began: int
    told: int
    told_s: float | None
    order: str


class Simulation:
    """One seed's history. ``run`` lives it; ``invariants`` judges it."""

    def __init__(
        self,
        seed: int,
        template: Path,
        folder: Path,
        *,
        skew_s: float = SKEW_S,
        measured: bool = True,
        small: bool = False,
    ) -> None:
        """Hosts' clocks are wrong by up to ``skew_s``. Processes go by the server's, which they measure; unless
        ``measured`` is false: then each goes by its own, and promises break. In a ``small`` world less happens."""
        self.seed = seed
        self.small = small
        self.path = folder / f"seed{seed}.db"
        shutil.copy(template, self.path)
        self.chance = random.Random(f"script {seed}")
        self.timeline = Timeline()
        self.order = count(1)
        self.numbers = count(1)
        self.cancelled_events: set[str] = set()
        self.weather = Weather(self.timeline)
        self.skew_s = skew_s
        self.measured = measured
        self.at_once = 2 if seed % 4 == 0 else 500
        self.rearrange_at_once = 1 if rearranges_in_pages(seed) else 500
        self.batching = seed % 5 == 3
        self.batches: dict[str, int] = {}  # how many events a request may have, by URL
        self.processes: list[Process] = []
        self.trace: list[tuple[float, int, str]] = []
        self.happened: Counter[str] = Counter()
        self.sent: list[Sent] = []
        self.published: list[Published] = []
        self.told: dict[str, str] = {}  # by idempotency key, the event
        self.hands: list[Hand] = []
        self.secrets: dict[str, list[NewSecret]] = {}
        self.unwell: list[tuple[float, float]] = []  # spans of trouble for all
        self.mishaps: list[str] = []
        self.limited: dict[str, limits.Limited] = {}
        self.replays: list[Replayed] = []
        self.replays_asked: Counter[str] = Counter()  # by URL, also those whose answer was lost
        self.endpoints: dict[str, str] = {}
        self.ordered = seed % 5 in (1, 2) or seed % 10 == 8  # there with batches
        self.in_line: dict[str, InLine] = {}  # by URL
        self.schedules: dict[str, RetrySchedule] = {}  # by URL, where it is not the usual one
        self.new_orders: dict[str, list[NewOrder]] = {}  # the same, where it changes
        self.keys: dict[int, str] = {}  # the ordering keys of events, by what is in them
        self.unblocked_s = float("inf")  # from here on, nothing blocks any more
        self.moods = {f"https://receiver{n}.example/": self._mood() for n in range(8)}
        self._free_urls = list(self.moods)
        self._names = count(1)
        self.ever: list[Process] = []
        self._agenda: list[tuple[float, int, Step]] = []
        self._watch = sqlite3.connect(self.path)

    def _mood(self) -> Moods:
        return self.chance.choice(
            [
                Moods(),
                Moods(fails=0.0, hangs=0.0, refuses=0.0, overloaded=0.0),
                Moods(fails=0.6, hangs=0.08),
                Moods(fails=0.1, overloaded=0.2, gone=0.04),
                Moods(slow=0.5),
                Moods(fails=1.0),
            ]
        )

    # What the script does

    def at(self, at_s: float, step: Step) -> None:
        """Let ``step`` happen then."""
        heapq.heappush(self._agenda, (at_s, next(self.numbers), step))

    def note(self, text: str) -> None:
        """Write a line of the trace."""
        self.trace.append((self.timeline.now_s, next(self.order), text))

    def any_process(self) -> Process:
        """One that is alive, perhaps frozen."""
        return self.chance.choice(
            [one for one in self.processes if one.is_open and not one.stopping] or self.processes
        )

    def any_endpoint(self) -> tuple[str, str]:
        """URL and id of an endpoint; it may have been deleted."""
        return self.chance.choice(list(self.endpoints.items()))

    def owners(self) -> set[str]:
        """The names of the processes that were the last to own a lane."""
        return {name for (name,) in self._watch.execute(_OWNERS)}

    def acknowledge(self, receipt: Receipt, began: int, n: int, key: str | None) -> None:
        """Whoever published was told so."""
        self.published.append(Published(receipt, began, next(self.order), n, key))
        if key is not None:
            self.told[key] = receipt.id

    def by_hand(self, move: str, delivery: str) -> None:
        """Somebody asks for this; whether it comes to pass, the database tells."""
        self.hands.append(Hand(self.timeline.now_s, next(self.order), move, delivery))

    async def cancel(self, tellwire: Tellwire, process: Process, delivery: str) -> None:
        """Have ``process`` cancel a delivery."""
        hand = Hand(self.timeline.now_s, next(self.order), "cancel", delivery)
        self.hands.append(hand)
        await tellwire.deliveries.cancel(delivery)
        self.hands[self.hands.index(hand)] = hand._replace(told=next(self.order), of=process.name)

    def create_endpoint(self, process: Process) -> None:
        """Have an endpoint made."""
        if not self._free_urls:
            return
        url, secret = self._free_urls.pop(0), self._new_secret()
        settings = limits.choose(self, url)
        if self.batching and self.chance.random() < 0.8:
            self.batches[url] = self.chance.choice([2, 3, 5])
            wait_s = self.chance.choice([0, 1, 10])
            settings["batch"] = {"max_events": self.batches[url], "max_wait_s": wait_s}
        if self.ordered and self.chance.random() < 0.8:
            self.in_line[url] = InLine(*(self.chance.choice(which) for which in (ORDERS, ON_EXHAUSTED)))
            settings |= self.in_line[url]._asdict()
            if self.in_line[url].on_exhausted == "block":  # with the usual schedule it would take too long
                self.schedules[url] = RetrySchedule(SOON_MS)
                settings["retry"] = {"delays_s": [delay_ms // 1000 for delay_ms in SOON_MS]}
                self.moods[url] = Moods(fails=0.6)

        async def create(tellwire: Tellwire) -> None:
            began = next(self.order)
            endpoint, _ = await tellwire.endpoints.create(
                url, events=["order.*"], secret=secret, settings=settings
            )
            self.endpoints[url] = endpoint.id
            self.secrets[url] = [NewSecret(began, self.timeline.now_s, secret)]

        process.do(create)

    async def rotate_secret(self, tellwire: Tellwire, url: str, id: str) -> None:
        """Have an endpoint sign with a new secret."""
        secrets, secret = self.secrets[url], self._new_secret()
        secrets.append(NewSecret(next(self.order), None, secret))
        await tellwire.endpoints.rotate_secret(id, secret=secret)
        secrets.append(NewSecret(next(self.order), self.timeline.now_s, secret))

    async def change_order(self, tellwire: Tellwire, url: str, id: str, order: str) -> None:
        """Have an endpoint keep another order from now on, whatever waits there."""
        new = NewOrder(next(self.order), 0, None, order)
        changes = self.new_orders.setdefault(url, [])
        changes.append(new)
        await tellwire.endpoints.update(id, {"order": order})
        changes[changes.index(new)] = new._replace(told=next(self.order), told_s=self.timeline.now_s)
        self.happened["order changed"] += 1
        if self._watch.execute("SELECT 1 FROM rearrangements").fetchone():
            self.happened["order changed in pages"] += 1

    def freeze(self, process: Process, span_s: float) -> None:
        """Let ``process`` stand still."""
        if process.frozen or not process.alive:
            return
        process.frozen = True
        self._unwell(process, span_s + 5)
        self.happened["freeze"] += 1
        self.note(f"{process.name} freezes for {span_s:g} s")

        def thaw(_: Simulation) -> None:
            process.frozen = False
            self.note(f"{process.name} goes on")

        self.at(self.timeline.now_s + span_s, thaw)

    def stop(self, process: Process) -> None:
        """Let ``process`` end gracefully."""
        if process.alive and process.is_open and not process.stopping:
            self.note(f"{process.name} is asked to stop")
            process.stop()

    def trouble(self, kind: Trouble, until_s: float, process: Process | None) -> None:
        """Let something be the matter with the database."""
        self.note(f"{process.name if process else 'everybody'}: {kind} until {until_s:.1f} s")
        self.happened[kind] += 1
        (process or self).weather.begin(kind, until_s)
        self._unwell(process, until_s + 5 - self.timeline.now_s)

    def _unwell(self, process: Process | None, span_s: float) -> None:
        (process or self).unwell.append((self.timeline.now_s, self.timeline.now_s + span_s))

    def _new_secret(self) -> str:
        return generate_symmetric(self.chance.randbytes)

    # Life

    def run(self) -> None:
        """Live until nothing is left to do."""
        for number in range(self.chance.randint(1, 3)):
            self.start(engine=number == 0 or self.chance.random() < 0.85)
        for _ in range(self.chance.randint(1, 3)):
            self.at(0.5, lambda world: world.create_endpoint(world.any_process()))
        for at_s, step in [
            *plan(self.chance, small=self.small),
            *([] if self.small else changes_of_order(self.seed)),
            *([] if self.small else bursts(self.seed, PUBLISHING_S)),
        ]:
            self.at(max(at_s, 1.0), step)
        self.at(CALM_S, Simulation._calm_down)
        try:
            self._live(self._settled)
            self._at_rest()
            for process in list(self.processes):
                self.stop(process)
            self._live(lambda: not self.processes)
        finally:
            self._watch.close()
            for process in self.ever:
                process.bury()
                self.mishaps += [f"{process.name}: {mishap}" for mishap in process.mishaps]

    def _live(self, until: Callable[[], bool]) -> None:
        chance = self.chance
        while True:
            ready = [one for one in self.processes if not one.frozen and one.loop.has_work()]
            if ready:
                process = ready[0] if len(ready) == 1 else chance.choice(ready)
                for _ in range(chance.randint(1, 4)):
                    process.step()
                    if not process.alive:
                        self._bury(process)
                        break
                    if not process.loop.has_work():
                        break
            elif self._agenda and self._agenda[0][0] <= self.timeline.now_s:
                _, _, step = heapq.heappop(self._agenda)
                step(self)
            elif until():
                return
            else:
                self._let_time_pass()

    def _let_time_pass(self) -> None:
        target_s = min(
            (one.loop.next_timer_s for one in self.processes if not one.frozen), default=float("inf")
        )
        skip_s = self._idle_until()
        if skip_s is not None:
            target_s = max(target_s, skip_s)
        if self._agenda:
            target_s = min(target_s, self._agenda[0][0])
        assert target_s != float("inf"), "everybody waits for something that can never happen"
        assert target_s < END_S, "deliveries are still pending"
        self.timeline.now_s = target_s

    def _idle_until(self) -> float | None:
        """Until shortly before something happens, where nothing is held in memory: looking four times a second for
        minutes takes too long. A machine that is suspended does the same: its timers end late, all at once. Where
        nothing is due, until the script goes on; but not where wrong clocks rule, which show while processes look."""
        if not all(one.idle or one.frozen for one in self.processes):
            return None
        due_s = self._next_due_s()
        if due_s is None:
            return float("inf") if self._agenda and self.measured else None
        return due_s - 0.6

    def _next_due_s(self) -> float | None:
        for work in ("fanout_pages", "rearrangements"):
            if self._watch.execute(f"SELECT 1 FROM {work}").fetchone():
                return self.timeline.now_s
        if self._watch.execute(_ROOM_TO_REPLAY if self.measured else _REPLAYING).fetchone():
            return self.timeline.now_s
        (ready_ms,) = self._watch.execute(
            "SELECT min(coalesce(d.lease_until_ms, d.due_ms)) FROM deliveries d JOIN endpoints e"
            " ON e.id = d.endpoint_id WHERE d.state = 0 AND e.state = 'enabled' AND NOT EXISTS (SELECT 1"
            " FROM deliveries o WHERE o.endpoint_id = d.endpoint_id AND o.sequence = d.sequence AND o.id < d.id"
            " AND o.state IN (0, 2))"
        ).fetchone()
        return None if ready_ms is None else seconds(ready_ms)

    def _settled(self) -> bool:
        return (
            self.timeline.now_s > CALM_S + 10
            and all(one.idle and not one.frozen for one in self.processes)
            and self._next_due_s() is None
        )

    def _at_rest(self) -> None:
        for process in self.processes:
            engine = process.tellwire.engine
            assert engine is None or (engine.held, engine.in_flight) == (0, 0), (
                f"{process.name} has lost a slot"
            )
        left = self._watch.execute("SELECT 1 FROM rearrangements").fetchone()
        assert left is None, "a new order is never done"

    def _calm_down(self) -> None:
        """Everything works from here on, and whoever was switched off is enabled."""
        self.note("all is well from here on")
        limits.calm_down(self)
        self.weather.clear()
        for process in self.processes:
            process.weather.clear()
            process.lives = process.dies_when = None
        self.start(engine=True)
        self.unblocked_s = self.timeline.now_s + 5
        for url in self.in_line:  # one after the other, each with a whole schedule, takes too long
            self.moods[url] = Moods(fails=0.05)
        for id in self.endpoints.values():
            self.at(self.unblocked_s, lambda world, id=id: enable(world, id))  # type: ignore[misc]
        there = self._watch.execute(
            "SELECT id FROM endpoints WHERE deleted_ms IS NULL ORDER BY id"
        ).fetchall()
        for id in [encode(ENDPOINT, raw) for (raw,) in there]:  # also where nobody was told that it was made
            self.at(self.unblocked_s, lambda world, id=id: unblock(world, id))  # type: ignore[misc]

    def start(self, *, engine: bool) -> None:
        """Have another process come up."""
        process = Process(f"{'w' if engine else 'a'}{next(self._names)}", self, engine=engine)
        self._unwell(process, 5)
        self.processes.append(process)
        self.ever.append(process)

    def _bury(self, process: Process) -> None:
        """Somebody is gone; a supervisor starts another after a while."""
        self.processes.remove(process)
        if self.timeline.now_s < CALM_S:
            after_s = self.chance.choice([0.1, 3, 30, 90])
            engine = process.engine
            if not any(one.engine for one in self.processes):
                self._unwell(None, after_s + 5)  # until somebody is there who delivers
            if self.processes:
                self.at(self.timeline.now_s + after_s, lambda world: world.start(engine=engine))
            else:
                self.start(engine=engine)
