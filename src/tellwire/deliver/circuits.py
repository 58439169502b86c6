"""Circuits: after each attempt to an endpoint that has a circuit breaker, see whether it opens or closes.

When it opens, what waits in memory goes back to the store: it keeps its place and its attempts there, and the lane
holds but one claim, for the next probe.
"""

from collections.abc import Callable

from tellwire.clock import Clock
from tellwire.model.claim import Claim
from tellwire.policy.circuit import Circuit
from tellwire.store.roster import LiveEndpoint
from tellwire.telemetry import LaneClosed, LaneOpened, Telemetry

from .announcing import Announcing
from .lanes import Lane, Lanes


class Circuits:
    """Opens and closes the lanes of this process."""

    def __init__(
        self,
        lanes: Lanes,
        clock: Clock,
        telemetry: Telemetry,
        give_back: Callable[[Claim], None],
        announcing: Announcing,
    ) -> None:
        """``give_back`` releases a claim that is not to be sent now."""
        self._lanes = lanes
        self._clock = clock
        self._telemetry = telemetry
        self._give_back = give_back
        self._announcing = announcing

    def judged(self, lane: Lane, endpoint: LiveEndpoint, succeeded: bool) -> None:
        """An attempt to an endpoint with a circuit breaker has ended."""
        before, settings = lane.circuit, endpoint.settings.circuit
        if before is None or settings is None:
            return
        after = before.after(succeeded, self._clock.now_ms(), settings)
        lane.circuit = after
        if after.is_open and not before.is_open:
            self._open(lane, endpoint, after)
        elif before.is_open and not after.is_open:
            self._close(lane, endpoint, before)

    def _open(self, lane: Lane, endpoint: LiveEndpoint, circuit: Circuit) -> None:
        self._lanes.holding.set()
        for claim in self._lanes.shed(lane):
            self._give_back(claim)
        wait_ms = circuit.probe_ms - self._clock.now_ms()
        self._telemetry.emit(LaneOpened(endpoint.text_id, endpoint.tenant, max(wait_ms, 0)))
        self._announcing.lane_opened(endpoint, max(wait_ms, 0))

    def _close(self, lane: Lane, endpoint: LiveEndpoint, before: Circuit) -> None:
        open_ms = self._clock.now_ms() - (before.opened_ms or 0)
        self._telemetry.emit(LaneClosed(endpoint.text_id, endpoint.tenant, max(open_ms, 0)))
        self._announcing.lane_closed(endpoint, max(open_ms, 0))
        self._lanes.go_on(lane)
