"""Tallies: what a transaction made of attempts and deliveries, counted by endpoint and hour.

Whoever ends deliveries appends its tallies to the journal in the very transaction (``rollups.append``, or the recorder
by a hot statement), so that nothing is counted twice or not at all, whatever dies. An append meets no row of anybody
else; adding up is left to the roller (``rollups.roll_up``).
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from tellwire.model.delivery import State
from tellwire.model.stats import Span
from tellwire.policy.histogram import Histogram, add, bucket_of

_HOUR_MS: Final = Span.HOUR.ms


class Tally(msgspec.Struct, array_like=True, gc=False):
    """What happened at one endpoint in an hour that begins at ``hour_ms``, or in a longer time."""

    tenant: str
    endpoint_id: bytes
    hour_ms: int
    succeeded: int = 0
    exhausted: int = 0
    cancelled: int = 0
    attempts_succeeded: int = 0
    attempts_failed: int = 0
    attempt_ms: Histogram = msgspec.field(default_factory=dict)
    delivery_ms: Histogram = msgspec.field(default_factory=dict)

    def count_in(self, more: "Tally") -> None:
        """Add what ``more`` has counted."""
        self.succeeded += more.succeeded
        self.exhausted += more.exhausted
        self.cancelled += more.cancelled
        self.attempts_succeeded += more.attempts_succeeded
        self.attempts_failed += more.attempts_failed
        add(self.attempt_ms, more.attempt_ms)
        add(self.delivery_ms, more.delivery_ms)


class Tallies:
    """The tallies of one transaction."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[bytes, int], Tally] = {}

    def attempt(
        self, tenant: str, endpoint_id: bytes, started_ms: int, duration_ms: int, succeeded: bool
    ) -> None:
        """Count a try, in the hour in which it began."""
        tally = self._of(tenant, endpoint_id, started_ms)
        if succeeded:
            tally.attempts_succeeded += 1
        else:
            tally.attempts_failed += 1
        bucket = bucket_of(duration_ms)
        tally.attempt_ms[bucket] = tally.attempt_ms.get(bucket, 0) + 1

    def ended(
        self,
        tenant: str,
        endpoint_id: bytes,
        state: State,
        ended_ms: int,
        *,
        took_ms: int = 0,
        times: int = 1,
    ) -> None:
        """Count ``times`` deliveries that ended in ``state``, in the hour in which they did; a success has taken
        ``took_ms`` since its event was published."""
        tally = self._of(tenant, endpoint_id, ended_ms)
        if state is State.SUCCEEDED:
            tally.succeeded += times
            bucket = bucket_of(took_ms)
            tally.delivery_ms[bucket] = tally.delivery_ms.get(bucket, 0) + times
        elif state is State.EXHAUSTED:
            tally.exhausted += times
        elif state is State.CANCELLED:
            tally.cancelled += times

    def encoded(self) -> bytes:
        """As the journal keeps them; empty where there is nothing."""
        return encode(list(self._tallies.values())) if self._tallies else b""

    def _of(self, tenant: str, endpoint_id: bytes, at_ms: int) -> Tally:
        key = endpoint_id, at_ms - at_ms % _HOUR_MS
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(tenant, *key)
        return tally


encode = msgspec.msgpack.Encoder().encode
"""Tallies as a row of the journal."""

decode = msgspec.msgpack.Decoder(list[Tally]).decode
"""The tallies of a row of the journal."""


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together, of no endpoint and no hour."""
    whole = Tally("", b"", 0)
    for tally in tallies:
        whole.count_in(tally)
    return whole
