"""Batches through a crash: the process that was sending one is killed, another one goes on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.model.delivery import State

from .cli_process import Process
from .embedded import KEY, LOOPBACK, all_are
from .receivers import HeldReceiver

FLAGS = [
    "--secret-key",
    KEY,
    "--dev",
    "--json",
    "--log-format",
    "json",
    "--delivery-timeout",
    "1",
    "--lease",
    "12",
]
"""A lease must be twice what an attempt may take; with it, the test takes so many seconds."""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Process]]:
    """Those that a test starts; what is left of them in the end is killed."""
    started: list[Process] = []
    yield started
    for one in started:
        one.process.kill()
        one.wait()


async def worker(workers: list[Process], folder: Path, url: str) -> Process:
    """Start one more, and wait until it works."""
    workers.append(Process(folder, "worker", *FLAGS, "--database-url", url))
    await asyncio.to_thread(workers[-1].line)
    return workers[-1]


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
