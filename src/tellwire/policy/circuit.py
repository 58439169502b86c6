"""The circuit breaker of a lane: an endpoint that keeps failing is left alone, and tried now and then.

    closed --(so many failures in a row, or too large a share of the last ones)--> open
    open --(a success)--> closed
    open --(a probe that fails)--> open, for twice as long

While it is open nothing is sent but a probe: one attempt at a time, when ``probe_ms`` has come.

An endpoint that sets no circuit breaker has a light one in each process: it opens late, probes soon and often, and
keeps what is down from taking the time of others.
"""

from typing import Final

import msgspec

from tellwire.model.lane_settings import CircuitSettings


class Circuit(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one circuit; every change is a new value, and its JSON is what the database keeps.

    Attributes:
        streak: failures in a row.
        recent: the last outcomes as bits, the newest last; 1 is a failure.
        seen: how many of these bits mean something.
        opened_ms: since when it is open, or None while it is closed.
        probe_ms: when the next probe may be sent, while it is open.
        probes: how many probes have failed.
    """

    streak: int = 0
    recent: int = 0
    seen: int = 0
    opened_ms: int | None = None
    probe_ms: int = 0
    probes: int = 0

    @property
    def is_open(self) -> bool:
        """Whether nothing but probes is sent."""
        return self.opened_ms is not None

    def after(self, succeeded: bool, now_ms: int, settings: CircuitSettings) -> "Circuit":
        """After an attempt that ended at ``now_ms``."""
        if self.opened_ms is not None:
            return CLOSED if succeeded else self._probed(now_ms, settings)
        if succeeded and settings.ratio is None:
            return CLOSED
        of = settings.last
        streak = 0 if succeeded else self.streak + 1
        recent = ((self.recent << 1) | (not succeeded)) & ((1 << of) - 1)
        seen = min(self.seen + 1, of)
        share = recent.bit_count() / of
        if streak >= settings.failures or (
            settings.ratio is not None and seen == of and share >= settings.ratio
        ):
            return Circuit(opened_ms=now_ms, probe_ms=now_ms + int(settings.probe_after_s * 1000))
        return Circuit(streak, recent, seen)

    def tried_at(self, now_ms: int) -> "Circuit":
        """Open as before, but for a probe at ``now_ms``: what may have been the trouble has changed."""
        return msgspec.structs.replace(self, probe_ms=min(self.probe_ms, now_ms), probes=0)

    def _probed(self, now_ms: int, settings: CircuitSettings) -> "Circuit":
        if now_ms < self.probe_ms:  # an attempt that was in the air when it opened: no probe
            return self
        probes = self.probes + 1
        pause_s = min(settings.probe_after_s * 2 ** min(probes, 30), settings.longest_s)
        pause_ms = int(max(pause_s, settings.probe_after_s) * 1000)
        return Circuit(opened_ms=self.opened_ms, probe_ms=now_ms + pause_ms, probes=probes)


CLOSED: Final = Circuit()

LIGHT: Final = CircuitSettings(failures=50, probe_after_s=0.25, longest_s=5)
"""For endpoints that set none: an attempt each 5 s is what an endpoint that stays down costs in a process."""
