"""Batches through a crash: the process that was sending one is killed, another one goes on."""

from pathlib import Path

from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.model.delivery import State

from .cli_process import Process
from .embedded import KEY, LOOPBACK, all_are
from .receivers import HeldReceiver
from .workers import worker


async def test_a_batch_survives_the_process_that_sent_it(tmp_path: Path, workers: list[Process]) -> None:
    """It comes again as it was, byte for byte and with the same id, though others wait; nothing is lost or left."""
    url = database_in(tmp_path)
    options = Options(secret_key=KEY, egress=LOOPBACK, deliver=False)
    async with HeldReceiver(held=True) as receiver, Tellwire(url, options) as tellwire:
        settings = {"batch": {"max_events": 5, "max_wait_s": 60}}
        await tellwire.endpoints.create(receiver.url, events=["*"], settings=settings)
        dies = await worker(workers, tmp_path, url)
        await tellwire.publish_many([{"type": "order.paid", "data": {"n": n}} for n in range(5)])
        await receiver.met(1)
        dies.process.kill()
        receiver.let_go()
        await tellwire.publish_many([{"type": "order.paid", "data": {"n": n}} for n in range(5, 10)])
        await worker(workers, tmp_path, url)
        await all_are(tellwire, State.SUCCEEDED, 10)
    again = [n for n, id in enumerate(receiver.ids) if id == receiver.ids[0]]
    assert len(again) >= 2
    assert len(set(receiver.ids)) == 2
    assert {receiver.bodies[n] for n in again} == {receiver.bodies[0]}
