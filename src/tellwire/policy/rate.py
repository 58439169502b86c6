"""How many attempts a lane may have in the air: halved when the receiver is overloaded, grown back slowly.

Additive increase, multiplicative decrease, as in TCP's congestion avoidance (RFC 5681 section 3.1): senders
that share a receiver converge on a fair share without knowing of each other.
"""

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
