"""The limits of an endpoint through a crash: the process that owns its lane is killed, another one goes on."""

import time
from pathlib import Path

from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.model.delivery import State

from .cli_process import Process
from .embedded import KEY, LOOPBACK, all_are
from .receivers import HeldReceiver
from .workers import LEASE_S, worker

EVENTS, BURST, PER_S = 80, 2, 20


async def test_the_rate_holds_when_the_owner_is_killed(tmp_path: Path, workers: list[Process]) -> None:
    """The lane rests until the lease ends, other endpoints notice nothing; in no stretch of time does more arrive."""
    url, begun = database_in(tmp_path), list[float]()

    def answer(_: int) -> tuple[int, dict[str, str]]:
        begun.append(time.monotonic())
        return 200, {}

    options = Options(secret_key=KEY, egress=LOOPBACK, deliver=False)
    async with HeldReceiver(answer) as limited, HeldReceiver() as other, Tellwire(url, options) as tellwire:
        settings = {"rate_limit": {"limit": 1, "burst": 1}, "max_in_flight": 2}
        endpoint, _ = await tellwire.endpoints.create(limited.url, events=["order.*"], settings=settings)
        await tellwire.endpoints.create(other.url, events=["other"])
        owner = await worker(workers, tmp_path, url)
        for n in range(EVENTS):
            await tellwire.publish("order.paid", {"n": n})
        await limited.met(1)
        await worker(workers, tmp_path, url)
        rate = {
            "limit": PER_S,
            "burst": BURST,
        }  # from now on: while the second started, the first kept its lane
        await tellwire.endpoints.update(endpoint.id, {"rate_limit": rate})
        await limited.met(len(limited.bodies) + 10)
        owner.process.kill()
        killed = time.monotonic()
        for n in range(10):
            await tellwire.publish("other", {"n": n})
        await other.met(10)
        assert time.monotonic() - killed < LEASE_S / 2
        await all_are(tellwire, State.SUCCEEDED, EVENTS + 10)

    assert len(set(limited.ids)) == EVENTS
    jitter_s = 0.5  # for a busy machine with three processes: an attempt is on its way, or its result is
    assert (
        len(begun) <= EVENTS + 2 + PER_S * jitter_s
    )  # what was not recorded when the owner died may come twice
    assert limited.most_waiting <= 2
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            window_s = begun[last] - begun[first] + jitter_s
            assert last - first + 1 <= BURST + PER_S * window_s
