"""Claim: a delivery under a lease, with everything needed to send it. Lives in memory only."""

import msgspec


class Claim(msgspec.Struct, eq=False, gc=False):
    """A delivery that this process may send until ``lease_until_ms``; ``token`` proves it to the store.

    ``body`` is made once per event and shared by all its deliveries. ``attempt_count`` and ``schedule_step`` are those
    before the attempt that this claim is for, which was due at ``due_ms``. From ``expires_ms`` on the event is not
    worth delivering. ``since_ms`` says when the first attempt was due, where that was not when the delivery was made.
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
    since_ms: int = 0
