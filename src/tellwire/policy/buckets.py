"""Token buckets: so many a second on average, a second's worth at once, and not more.

A bucket may run into debt: whoever has a token left may take many at once (a batch), and then waits until the debt is
paid. So a large batch is never refused for ever, and the average holds all the same.
"""

from typing import Final

_MOST: Final = 20_000


class Buckets:
    """One bucket for each name, made when it is first asked for; those that are full again are forgotten."""

    def __init__(self, *, at_once: int = 1) -> None:
        """``at_once``: a bucket holds so many, if that is more than a second's worth."""
        self._at_once = float(at_once)
        self._buckets: dict[str, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, tokens: int, *, per_s: float, now_ms: int) -> float:
        """Take ``tokens``; gives 0, or the seconds to wait until there is one, and then nothing is taken."""
        most = max(per_s, self._at_once)
        left, at_ms = self._buckets.get(name, (most, now_ms))
        left = min(left + max(now_ms - at_ms, 0) * per_s / 1000, most)
        if left < 1:
            return (1 - left) / per_s
        if len(self._buckets) >= _MOST and name not in self._buckets:
            self._forget()
        self._buckets[name] = (left - tokens, now_ms)
        return 0.0

    def give_back(self, name: str, tokens: int) -> None:
        """Undo a ``take``: what it was for did not happen, or is asked for once more."""
        if name in self._buckets:
            left, at_ms = self._buckets[name]
            self._buckets[name] = (left + tokens, at_ms)  # over-full at most until the next ``take``

    def _forget(self) -> None:
        """Make room: the half that was asked for longest ago goes. Who is among them has a full bucket again."""
        oldest = sorted(self._buckets, key=lambda name: self._buckets[name][1])
        for name in oldest[: len(oldest) // 2]:
            del self._buckets[name]
