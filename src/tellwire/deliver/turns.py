"""Turns: whose turn it is to use a slot of the process, where these are all taken.

Lanes stand in line, and each that comes to the front starts one attempt. No tenant has more than its part of the slots
in the air: whatever hangs in the endpoints of one, there are slots left for the others. Lanes whose tenant has its part
in use stand in a line of their own, so that they cost those in the common line nothing.
"""

from collections import deque
from typing import Any, Final, Generic, Protocol, TypeVar

PART_OF_A_TENANT: Final = 3 / 4
"""Of the slots of a process."""


class InLine(Protocol):
    """What stands in line: a lane."""

    queued: bool
    share: "Share[Any]"


L = TypeVar("L", bound=InLine)


class Share(Generic[L]):
    """What all lanes of one tenant have in the air, and those of them that wait until it is less."""

    __slots__ = ("in_flight", "line")

    def __init__(self) -> None:
        self.in_flight = 0
        self.line: deque[L] = deque()


class Turns(Generic[L]):
    """The slots of a process, and the lanes that wait for one."""

    def __init__(self, per_process: int, per_tenant: int) -> None:
        self._per_process = per_process
        self._per_tenant = per_tenant
        self._line: deque[L] = deque()
        self._shares: dict[str, Share[L]] = {}
        self.in_flight = 0

    def share_of(self, tenant: str) -> Share[L]:
        """The share of a tenant."""
        return self._shares.setdefault(tenant, Share())

    def has_slot(self, lane: L) -> bool:
        """Whether a lane may use a slot now; if not, it stands in line."""
        if lane.share.in_flight >= self._per_tenant:
            _stand(lane, lane.share.line)
            return False
        if self.in_flight >= self._per_process:
            self.wait(lane)
            return False
        return True

    def wait(self, lane: L) -> None:
        """Let a lane stand at the end of the line, if it does not stand in one."""
        _stand(lane, self._line)

    def begin(self, lane: L) -> None:
        """A lane uses a slot."""
        self.in_flight += 1
        lane.share.in_flight += 1

    def end(self, lane: L) -> None:
        """A lane uses a slot less; a lane of the same tenant may come into the common line for it."""
        self.in_flight -= 1
        lane.share.in_flight -= 1
        self._let_in(lane.share)

    def others_wait(self, lane: L) -> bool:
        """Whether a slot that comes free in a lane is for another."""
        return bool(self._line or lane.share.line)

    def next(self) -> L | None:
        """The lane whose turn it is, if there is a slot for it; it stands in line no more."""
        if not self._line or self.in_flight >= self._per_process:
            return None
        lane = self._line.popleft()
        lane.queued = False
        return lane

    def passed(self, lane: L) -> None:
        """A lane did not use its turn: another of its tenant may."""
        self._let_in(lane.share)

    def forget(self, in_use: set[str]) -> None:
        """Drop the shares of all tenants but these."""
        for tenant in self._shares.keys() - in_use:
            if not self._shares[tenant].in_flight:
                del self._shares[tenant]

    def _let_in(self, share: Share[L]) -> None:
        if share.line and share.in_flight < self._per_tenant:
            self._line.append(share.line.popleft())  # it is queued as before


def _stand(lane: L, line: deque[L]) -> None:
    if not lane.queued:
        lane.queued = True
        line.append(lane)
