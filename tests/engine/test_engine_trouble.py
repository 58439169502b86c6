"""When processes die, stop, share a database, or cannot write to it."""

import asyncio
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

from tellwire import StoreUnavailableError, Tellwire
from tellwire.deliver.lanes import LaneBounds
from tellwire.model.delivery import State
from tellwire.telemetry import DeliveriesRescued, Fact, StoreFailed

from .embedded import all_are, deliveries, locked, tellwire_at, until
from .receivers import WAIT_S, HeldReceiver


def change(folder: Path, sql: str, *values: object) -> None:
    """Change the database behind Tellwire's back."""
    database = sqlite3.connect(folder / "tellwire.db")
    with database:
        database.execute(sql, values)
    database.close()


async def limit_pages(tellwire: Tellwire, pages: int | None) -> None:
    """Let the disk be full beyond so many pages more; None gives all the room back."""

    def limit(connection: Any) -> None:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        most = 1_000_000_000 if pages is None else used + pages
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most}").scalar_one()

    await tellwire._store.write(limit)


async def impatient(tellwire: Tellwire) -> None:
    """Let the writer wait for nobody's lock."""
    tellwire._store._lock_wait_s = 0  # type: ignore[attr-defined]  # what it waits before it says BEGIN

    def wait_less(connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA busy_timeout = 1").scalar_one()

    await tellwire._store.write(wait_less)


async def test_what_the_dead_had_claimed_is_delivered_once(tmp_path: Path) -> None:
    """Deliveries under leases that have ended are rescued, all of them, and none twice."""
    async with HeldReceiver() as receiver:
        async with tellwire_at(tmp_path, deliver=False) as publisher:
            await publisher.endpoints.create(receiver.url, events=["*"])
            receipts = [await publisher.publish("order.paid", {"n": n}) for n in range(50)]
        change(tmp_path, "UPDATE deliveries SET lease_token = 1, lease_until_ms = 1")
        facts: list[Fact] = []
        tellwire = tellwire_at(tmp_path)
        tellwire.telemetry.subscribe(facts.append)
        async with tellwire:
            await all_are(tellwire, State.SUCCEEDED, 50)
        assert sorted(receiver.ids) == sorted(receipt.id for receipt in receipts)
        assert sum(fact.deliveries for fact in facts if isinstance(fact, DeliveriesRescued)) == 50


async def test_a_batch_of_the_dead_is_rescued_as_a_whole(tmp_path: Path) -> None:
    """With a single slot too, and each of its deliveries is counted."""
    async with HeldReceiver() as receiver:
        async with tellwire_at(tmp_path, deliver=False) as publisher:
            settings = {"batch": {"max_events": 5, "max_wait_s": 0}}
            await publisher.endpoints.create(receiver.url, events=["*"], settings=settings)
            for n in range(5):
                await publisher.publish("order.paid", {"n": n})
        change(tmp_path, "UPDATE deliveries SET lease_token = 1, lease_until_ms = 1, batch_id = x'61'")
        facts: list[Fact] = []
        tellwire = tellwire_at(tmp_path, bounds=LaneBounds(per_endpoint=1, per_process=1, held=1))
        tellwire.telemetry.subscribe(facts.append)
        async with tellwire:
            await all_are(tellwire, State.SUCCEEDED, 5)
        assert len(receiver.bodies) == 1
        assert sum(fact.deliveries for fact in facts if isinstance(fact, DeliveriesRescued)) == 5


async def test_live_claims_of_others_are_left_alone(tmp_path: Path) -> None:
    """What another process holds under a live lease is not sent by this one."""
    async with HeldReceiver() as receiver:
        async with tellwire_at(tmp_path, deliver=False) as publisher:
            await publisher.endpoints.create(receiver.url, events=["*"])
            for number in range(2):
                await publisher.publish("order.paid", {"n": number})
        change(
            tmp_path,
            "UPDATE deliveries SET lease_token = 1, lease_until_ms = 9999999999999"
            " WHERE id = (SELECT min(id) FROM deliveries)",
        )
        async with tellwire_at(tmp_path) as tellwire:
            await receiver.met(1)

            async def one_is_through() -> bool:
                return len(await deliveries(tellwire, State.SUCCEEDED)) == 1

            assert await until(one_is_through)
            assert len(await deliveries(tellwire, State.PENDING)) == 1
        assert len(receiver.bodies) == 1


async def test_a_graceful_stop_gives_back_what_waits(tmp_path: Path) -> None:
    """After a stop nothing is under a lease: what was in the air is recorded, what waited can be claimed at once."""
    bounds = LaneBounds(per_endpoint=2)
    async with HeldReceiver(held=True) as receiver:
        tellwire = tellwire_at(tmp_path, bounds=bounds)
        await tellwire.open()
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await asyncio.gather(*[tellwire.publish("order.paid", {"n": n}) for n in range(30)])
        await receiver.met(2)
        closing = asyncio.create_task(tellwire.close())
        await asyncio.sleep(0)
        receiver.let_go()
        await closing
        database = sqlite3.connect(tmp_path / "tellwire.db")
        leased, succeeded = database.execute(
            "SELECT count(lease_token), sum(state = 1) FROM deliveries"
        ).fetchone()
        database.close()
        sent = len(receiver.bodies)
        assert (leased, succeeded) == (0, sent)
        assert 2 <= sent < 30
        async with tellwire_at(tmp_path) as again:
            await all_are(again, State.SUCCEEDED, 30)
        assert len(receiver.bodies) == 30
        assert len(set(receiver.ids)) == 30


async def test_a_stop_with_a_hanging_receiver_gives_its_deliveries_back(tmp_path: Path) -> None:
    """What does not land within the grace period is given back too, to be sent again."""
    async with HeldReceiver(held=True) as receiver:
        async with tellwire_at(tmp_path, grace_s=0) as tellwire:
            await tellwire.endpoints.create(receiver.url, events=["*"])
            await tellwire.publish("order.paid", {"n": 1})
            await receiver.met(1)
        receiver.let_go()
        async with tellwire_at(tmp_path) as again:
            await all_are(again, State.SUCCEEDED, 1)


async def test_publishing_up_to_the_stop_loses_nothing(tmp_path: Path) -> None:
    """Whatever was acknowledged while the process stopped is delivered by the next one, at once."""
    async with HeldReceiver() as receiver:
        tellwire = tellwire_at(tmp_path)
        await tellwire.open()
        await tellwire.endpoints.create(receiver.url, events=["*"])
        calls = [asyncio.create_task(tellwire.publish("order.paid", {"n": n})) for n in range(500)]
        await asyncio.sleep(0)
        await tellwire.close()
        results = await asyncio.gather(*calls, return_exceptions=True)
        acknowledged = {result.id for result in results if not isinstance(result, BaseException)}
        assert acknowledged
        async with tellwire_at(tmp_path) as again:
            assert await again.drained()
        assert acknowledged <= set(receiver.ids)


async def test_what_other_processes_publish_is_delivered(tmp_path: Path) -> None:
    """A process that delivers finds what one that only publishes has written, without being told."""
    async with (
        HeldReceiver() as receiver,
        tellwire_at(tmp_path) as tellwire,
        tellwire_at(tmp_path, deliver=False) as publisher,
    ):
        await publisher.endpoints.create(receiver.url, events=["*"])
        assert await tellwire.drained()
        for number in range(5):
            await publisher.publish("order.paid", {"n": number})
            await receiver.met(number + 1)


async def test_two_processes_share_the_work_and_send_nothing_twice(tmp_path: Path) -> None:
    """Two engines on one database deliver every event once between them."""
    async with (
        HeldReceiver() as receiver,
        tellwire_at(tmp_path, deliver=False) as publisher,
        tellwire_at(tmp_path),
        tellwire_at(tmp_path),
    ):
        await publisher.endpoints.create(receiver.url, events=["*"])
        for _ in range(4):
            await asyncio.gather(*[publisher.publish("order.paid", {"n": n}) for n in range(50)])
        await all_are(publisher, State.SUCCEEDED, 200)
        assert len(receiver.bodies) == len(set(receiver.ids)) == 200


async def test_a_full_disk_refuses_events_and_delivers_when_there_is_room(tmp_path: Path) -> None:
    """While the disk is full publishing raises and stores nothing; afterwards all goes on, the old events included."""
    async with HeldReceiver() as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        facts: list[Fact] = []
        tellwire.telemetry.subscribe(facts.append)
        await limit_pages(tellwire, 10)
        data = {"text": "x" * 50_000}
        results = await asyncio.gather(
            *[tellwire.publish("order.paid", data) for _ in range(20)], return_exceptions=True
        )
        assert all(isinstance(result, StoreUnavailableError) for result in results)
        assert "full" in str(results[0])
        assert (await tellwire.events.list()).data == []
        assert any(isinstance(fact, StoreFailed) and fact.stage == "publish" for fact in facts)
        await limit_pages(tellwire, None)
        receipt = await tellwire.publish("order.paid", data)
        assert await tellwire.drained()
        assert receiver.ids == [receipt.id]


async def test_results_wait_until_they_can_be_written(tmp_path: Path) -> None:
    """An answer that comes while the database cannot be written is recorded later, without sending again."""
    async with HeldReceiver(held=True) as receiver, tellwire_at(tmp_path) as tellwire:
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await tellwire.publish("order.paid", {"n": 1})
        await receiver.met(1)
        failed = asyncio.Event()
        tellwire.telemetry.subscribe(
            lambda fact: failed.set() if isinstance(fact, StoreFailed) and fact.stage == "record" else None
        )
        await impatient(tellwire)
        lock = await locked(tmp_path / "tellwire.db")
        receiver.let_go()
        await asyncio.wait_for(failed.wait(), WAIT_S)
        lock.execute("ROLLBACK")
        lock.close()
        await all_are(tellwire, State.SUCCEEDED, 1)
        assert len(receiver.bodies) == 1


async def test_in_trouble_claiming_is_tried_ever_less_often(tmp_path: Path) -> None:
    """While the database cannot be written, each pause of the claimer is about twice as long as the one before."""
    loop, failures, enough = asyncio.get_running_loop(), list[float](), asyncio.Event()

    def hear(fact: Fact) -> None:
        if isinstance(fact, StoreFailed) and fact.stage == "claim":
            failures.append(loop.time())
            if len(failures) == 4:
                enough.set()

    async def failed_once() -> bool:
        return all(one.attempt_count == 1 for one in await deliveries(tellwire))

    async with (
        HeldReceiver(lambda _: (500, {})) as receiver,
        tellwire_at(tmp_path, delays_ms=(500,)) as tellwire,
    ):
        await tellwire.endpoints.create(receiver.url, events=["*"])
        await impatient(tellwire)
        tellwire.telemetry.subscribe(hear)
        await tellwire.publish("order.paid", {})
        await until(failed_once)
        lock = await locked(tmp_path / "tellwire.db")
        await asyncio.wait_for(enough.wait(), WAIT_S)
        lock.execute("ROLLBACK")
        lock.close()
        pauses = [after - before for before, after in pairwise(failures[:4])]
        assert [pause > least for pause, least in zip(pauses, (0.24, 0.49, 0.99), strict=True)] == [True] * 3
        await all_are(tellwire, State.EXHAUSTED, 1)
