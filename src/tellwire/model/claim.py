"""Claim: a delivery under a lease, with everything needed to send it. Lives in memory only."""

from typing import NamedTuple

import msgspec

from tellwire.ids import time_ms


class More(NamedTuple):
    """Up to ``most`` more may be claimed behind ``last``, the last claim of a run."""

    last: "Claim"
    most: int


class Claim(msgspec.Struct, eq=False, gc=False):
    """A delivery that this process may send until ``lease_until_ms``; ``token`` proves it to the store.

    ``body`` is made once per event and shared by all its deliveries. ``attempt_count`` and ``schedule_step`` are those
    before the attempt that this claim is for, which was due at ``due_ms``. From ``expires_ms`` on the event is not
    worth delivering. ``deliver_ms`` is when it was to be delivered at the earliest, ``again_ms`` when the delivery was
    last made pending by hand or a replay; 0 where that does not apply.

    ``along`` are the claims that go in the same request, where the endpoint gets batches; ``batch_id`` is the batch in
    which the delivery was sent last.
    ``order`` is the endpoint's as it was when the claim was made, ``sequence`` that in which the delivery stands, if it
    stands in one. Then ``follower`` may be sent when this one is through, and so on to the ``last`` of the run.
    ``more`` may be claimed when the result of this one is durable; ``received`` tells, when its attempt has ended,
    whether what follows may be sent.
    """

    delivery_id: bytes
    event_id: bytes
    endpoint_id: bytes
    event_text_id: str
    type: str
    body: bytes
    token: int
    lease_until_ms: int
    attempt_count: int = 0
    schedule_step: int = 0
    trigger: str = "schedule"
    due_ms: int = 0
    expires_ms: int | None = None
    deliver_ms: int = 0
    again_ms: int = 0
    traceparent: str | None = None
    along: tuple["Claim", ...] = ()
    batch_id: bytes | None = None
    order: str | None = None
    sequence: str | None = None
    follower: "Claim | None" = None
    last: bool = True
    more: More | None = None
    received: bool | None = None

    @property
    def since_ms(self) -> int:
        """When the first attempt was due: of its schedule, if that has begun anew."""
        return max(time_ms(self.delivery_id), self.deliver_ms, self.again_ms)

    @property
    def event_ms(self) -> int:
        """When the event was published, or was to be delivered, if that is later."""
        return max(time_ms(self.event_id), self.deliver_ms)
