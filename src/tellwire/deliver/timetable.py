"""The timetable: which lane has something to claim, and when. Kept by the claimer, so that it need not search for it.

Each lane stands here with the earliest time that is known of it. An entry may be wrong in one direction only: nothing
may be there any more when its time has come, which costs one look.
"""

from heapq import heappop, heappush


class Timetable:
    """When the next claim of each lane is worth a try."""

    def __init__(self) -> None:
        self._ready_ms: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []  # entries that are no longer true stay until their turn

    @property
    def next_ms(self) -> int | None:
        """The earliest time, or None where nothing is expected."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def expect(self, endpoint_id: bytes, ready_ms: int) -> None:
        """Something in this lane may be claimed from ``ready_ms`` on; what is expected earlier stays."""
        known_ms = self._ready_ms.get(endpoint_id)
        if known_ms is None or ready_ms < known_ms:
            self._ready_ms[endpoint_id] = ready_ms
            heappush(self._heap, (ready_ms, endpoint_id))

    def take_due(self, now_ms: int, at_most: int) -> list[bytes]:
        """Up to so many lanes whose time has come, the earliest first; they are expected no more."""
        due: list[bytes] = []
        while len(due) < at_most and (next_ms := self.next_ms) is not None and next_ms <= now_ms:
            endpoint_id = heappop(self._heap)[1]
            del self._ready_ms[endpoint_id]
            due.append(endpoint_id)
        return due

    def _drop_stale(self) -> None:
        heap, known = self._heap, self._ready_ms
        while heap and known.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
