"""``python -m benchmarks.observing``: what metrics and log lines cost, beside the same work without them.

In one process: events are published in Python, delivered, and recorded on SQLite with full durability. Delivered over
HTTP to a receiver on this machine, and once more by a transport that answers at once, so that hardly anything else
happens: the shares of that one are an upper bound. Runs with and without alternate, so that a machine that speeds up
does so for all.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import structlog
import uvloop

from tellwire import Options, Tellwire
from tellwire.deliver.egress import EgressPolicy
from tellwire.deliver.transport import USUAL, Manner
from tellwire.model.attempt import Evidence
from tellwire.observe.logs import configure, subscribe_logs
from tellwire.observe.metrics import Metrics

from .receivers import fast_receiver, fast_receiver_name

_PUBLISHERS = 64
_OBSERVED: Mapping[str, tuple[bool, bool]] = {
    "nothing": (False, False),
    "metrics": (True, False),
    "log lines": (False, True),
    "metrics and log lines": (True, True),
}


class Answering:
    """A transport whose every attempt succeeds at once."""

    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, manner: Manner = USUAL
    ) -> Evidence:
        """200, without a network."""
        return Evidence(status_code=200, duration_ms=1)

    async def aclose(self) -> None:
        """Nothing to close."""


async def deliver(
    folder: Path, events: int, port: int | None, observe: Callable[[Tellwire], object]
) -> float:
    """Microseconds of CPU time for each event, of all threads of this process."""
    options = Options(egress=EgressPolicy.for_development())
    transport = Answering() if port is None else None
    async with Tellwire(f"sqlite:///{folder / 'a.db'}", options, transport=transport) as tellwire:
        kept = observe(tellwire)
        for lane in range(4):
            await tellwire.endpoints.create(
                f"http://127.0.0.1:{port or 8080}/{lane}", events=[f"order.t{lane}"]
            )
        data = b'{"order_id":"o_1","note":"%b"}' % (b"x" * 1000)

        async def publish(first: int) -> None:
            for number in range(first, events, _PUBLISHERS):
                await tellwire.publish(f"order.t{number % 4}", data)

        started = time.process_time()
        await asyncio.gather(*(publish(first) for first in range(_PUBLISHERS)))
        assert await tellwire.drained()
        spent = time.process_time() - started
        del kept
        return spent / events * 1e6


def run(name: str, events: int, port: int | None) -> float:
    """One run; log lines go to a file."""
    metrics, logs = _OBSERVED[name]
    with (
        tempfile.TemporaryDirectory(prefix="tellwire-observing-") as folder,
        Path(folder, "log").open("wb") as log,
    ):
        if logs:
            configure("json", "info", log)

        def observe(tellwire: Tellwire) -> object:
            if logs:
                subscribe_logs(tellwire.telemetry)
            return Metrics(tellwire) if metrics else None

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            spent = runner.run(deliver(Path(folder), events, port, observe))
        structlog.reset_defaults()
        return spent


def compare(port: int | None, events: int, rounds: int) -> None:
    """Alternate the four kinds of runs and print their medians."""
    run("metrics and log lines", events // 4, port)  # warm up
    spent: dict[str, list[float]] = {name: [] for name in _OBSERVED}
    for _ in range(rounds):
        for name in _OBSERVED:
            spent[name].append(run(name, events, port))
    without = median(spent["nothing"])
    print("\n| observed | CPU us each, median (all runs) | more | share |\n|---|---:|---:|---:|")
    for name, each in spent.items():
        more = median(each) - without
        print(
            f"| {name} | {median(each):.1f} ({min(each):.1f} to {max(each):.1f}) "
            f"| {more:+.1f} | {more / without:+.1%} |"
        )


def main() -> None:
    """Compare with deliveries over HTTP, and with none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.observing", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="tellwire-observing-") as folder,
        fast_receiver(Path(folder)) as port,
    ):
        print(f"deliveries over HTTP, receiver {fast_receiver_name()}")
        compare(port, asked.events, asked.rounds)
    print("\ndeliveries by a transport that answers at once")
    compare(None, asked.events, asked.rounds)


if __name__ == "__main__":
    main()
