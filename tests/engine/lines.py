"""What tests of order share: a Tellwire that retries soon, events with keys, and what a receiver has seen in line."""

import json
from collections import defaultdict

from tellwire import Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.policy.retry import RetrySchedule

from .embedded import KEY, LOOPBACK
from .receivers import HeldReceiver

KEYS = "abc"


def hub(
    url: str,
    *,
    delays_ms: tuple[int, ...] = (20,) * 20,
    deliver: bool = True,
    rearrange_at_once: int = 1_000,
) -> Tellwire:
    """A Tellwire whose deliveries are tried again after a moment."""
    options = Options(
        deliver=deliver,
        secret_key=KEY,
        egress=LOOPBACK,
        engine=EngineOptions(schedule=RetrySchedule(delays_ms), grace_s=1),
        rearrange_at_once=rearrange_at_once,
    )
    return Tellwire(url, options)


async def publish(tellwire: Tellwire, numbers: range, keys: str = KEYS) -> None:
    """One event for each number, one after the other, each with the next of the keys."""
    for n in numbers:
        key = keys[n % len(keys)]
        await tellwire.publish("order.paid", {"n": n, "key": key}, ordering_key=key)


class Line:
    """Answers so that some requests fail, and notes what was received, request after request."""

    def __init__(self, fails: int = 0) -> None:
        """Each event fails so often, before it is received."""
        self.fails = fails
        self.tries: dict[int, int] = defaultdict(int)
        self.received: list[tuple[str, int]] = []
        self.receiver = HeldReceiver(self._answer)

    def _answer(self, number: int) -> tuple[int, dict[str, str]]:
        """For the n-th request."""
        data = json.loads(self.receiver.bodies[number - 1])["data"]
        self.tries[data["n"]] += 1
        if self.tries[data["n"]] <= self.fails:
            return 500, {}
        self.received.append((data["key"], data["n"]))
        return 200, {}

    def numbers(self, key: str | None = None) -> list[int]:
        """What was received, of one key or of all, each at its first time."""
        return list(dict.fromkeys(n for of, n in self.received if key is None or of == key))
