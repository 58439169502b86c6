"""How many attempts a lane may have in the air, and how many it may begin in how long.

In the air: halved when the receiver is overloaded, grown back slowly.

Additive increase, multiplicative decrease, as in TCP's congestion avoidance (RFC 5681 section 3.1): senders
that share a receiver converge on a fair share without knowing of each other.
"""

import math

import msgspec


class LaneLimit(msgspec.Struct, frozen=True):
    """The present concurrency of one lane; every change is a new value.

    Attributes:
        maximum: never more than this in the air.
        allowed: this many at present, between 1 and ``maximum``; a new lane starts with ``maximum``. 0 while the
            lane is held back altogether.
        streak: successes in a row since ``allowed`` last changed.
    """

    maximum: int
    allowed: int
    streak: int = 0

    @classmethod
    def full(cls, maximum: int) -> "LaneLimit":
        """A lane that has no reason to hold back."""
        return cls(maximum, maximum)

    def slowed(self) -> "LaneLimit":
        """After an answer that says "too much": half of it, at least one."""
        if not self.allowed:
            return self
        return LaneLimit(self.maximum, max(1, self.allowed // 2))

    def recovered(self) -> "LaneLimit":
        """After a success: one more as soon as a full round (``allowed`` successes in a row) went well."""
        if self.allowed >= self.maximum or not self.allowed:
            return self
        if self.streak + 1 < self.allowed:
            return LaneLimit(self.maximum, self.allowed, self.streak + 1)
        return LaneLimit(self.maximum, self.allowed + 1)

    def held_back(self) -> "LaneLimit":
        """None at all, until it is ``let_go``."""
        return LaneLimit(self.maximum, 0)

    def let_go(self) -> "LaneLimit":
        """One at first, as after the worst of slowing down."""
        return self if self.allowed else LaneLimit(self.maximum, 1)

    def resized(self, maximum: int) -> "LaneLimit":
        """With another maximum; a lane that held nothing back does not begin to."""
        allowed = maximum if self.allowed == self.maximum else min(self.allowed, maximum)
        return LaneLimit(maximum, allowed)


class Bucket(msgspec.Struct, frozen=True):
    """A token bucket: each request takes a token, and tokens come back at an even rate, up to ``burst``.

    So within any ``w`` milliseconds there are at most ``burst + w * per_ms`` requests. Every change is a new value.

    Attributes:
        per_ms: tokens that come back in a millisecond.
        burst: how many there are at most.
        tokens: how many there were at ``at_ms``; a fraction counts towards the next.
    """

    per_ms: float
    burst: int
    tokens: float
    at_ms: int

    def taken(self, now_ms: int) -> "Bucket | None":
        """With a token less, or None where there is none."""
        tokens = self._tokens(now_ms)
        if tokens < 1:
            return None
        return Bucket(self.per_ms, self.burst, tokens - 1, max(now_ms, self.at_ms))

    def wait_ms(self, now_ms: int, count: int = 1) -> int:
        """How long until there are ``count`` tokens (up to ``burst``): 0 where there are, else 1 or more."""
        missing = count - self._tokens(now_ms)
        if missing <= 0:
            return 0
        wait_ms = max(1, math.ceil(missing / self.per_ms))
        # The division rounds, and so may be wrong by one.
        if self._tokens(now_ms + wait_ms) < count:
            return wait_ms + 1
        return wait_ms - (wait_ms > 1 and self._tokens(now_ms + wait_ms - 1) >= count)

    def _tokens(self, now_ms: int) -> float:
        # A clock that was set back must not take tokens away, nor give any twice.
        return min(self.burst, self.tokens + max(0, now_ms - self.at_ms) * self.per_ms)
