"""What is on its way: deliveries that are overdue, leases that nobody frees, endpoints that pile up or fail."""

from collections.abc import Iterator, Sequence
from typing import Final

from tellwire.hub import Tellwire
from tellwire.ids import ENDPOINT, encode
from tellwire.model.endpoint import EndpointState
from tellwire.policy.failing import first_warning_ms
from tellwire.settings import Settings
from tellwire.store.backlog import LaneBacklog
from tellwire.store.failing import Failing

from .finding import Finding, counted, duration, failure, ok, waiting, warning

_LATE_MS: Final = 60_000
_FAR_TOO_LATE_MS: Final = 900_000
_SHOWN: Final = 5
_DAY_MS: Final = 86_400_000


async def examine(tellwire: Tellwire, settings: Settings) -> list[Finding]:
    """How the deliveries are that are not finished, and which endpoints are about to be disabled."""
    lanes = await tellwire.deliveries.backlog()
    enabled = [lane for lane in lanes if lane.state is EndpointState.ENABLED]
    broken = [lane for lane in enabled if lane.broken]
    whole = [lane for lane in enabled if not (lane.broken or lane.held_ms or lane.limited)]
    most_ms = settings.disable_after_days * _DAY_MS
    failing = await tellwire.deliveries.failing(first_warning_ms(most_ms)) if most_ms else []
    return [
        _oldest(whole),
        _leases(enabled),
        *_closed(lanes),
        *_broken(broken),
        *_limited([lane for lane in enabled if not lane.broken]),
        *_blocked(enabled),
        *_failing(failing, most_ms),
    ]


def _oldest(lanes: Sequence[LaneBacklog]) -> Finding:
    pending, due = sum(lane.pending for lane in lanes), sum(lane.due for lane in lanes)
    if not due:
        return ok(
            "deliveries",
            f"{counted(pending, 'delivery')} pending where they can be sent, none of them is due",
        )
    oldest = max(lanes, key=lambda lane: lane.oldest_ms)
    says = f"{counted(due, 'delivery')} of {pending:,} pending are due or under way"
    if oldest.oldest_ms:  # 0: all of them wait for others before them
        says += f", the oldest for {duration(oldest.oldest_ms)} ({oldest.endpoint_id})"
    advice = (
        "see that a server runs on this database and delivers; if one does, the endpoint is slow, or there is more "
        "than one process can send: `tellwire deliveries list --state pending`"
    )
    if oldest.oldest_ms > _FAR_TOO_LATE_MS:
        return failure("deliveries", says, advice)
    if oldest.oldest_ms > _LATE_MS:
        return warning("deliveries", says, advice)
    return ok("deliveries", says)


def _leases(lanes: Sequence[LaneBacklog]) -> Finding:
    stuck = sum(lane.stuck for lane in lanes)
    if not stuck:
        return ok("leases", "none is stuck")
    return failure(
        "leases",
        f"{counted(stuck, 'delivery')} claimed under leases that ended long ago, or that end in the far future: "
        "whoever had claimed them died, and nobody has claimed them since",
        "see that a server runs on this database and delivers, and that all clocks are right",
    )


_COMMANDS: Final = {
    EndpointState.PAUSED: "resume",
    EndpointState.DISABLED: "enable",
    EndpointState.UNVERIFIED: "verify",
}


def _closed(lanes: Sequence[LaneBacklog]) -> Iterator[Finding]:
    closed = [lane for lane in lanes if lane.state is not EndpointState.ENABLED]
    if not closed:
        yield ok("endpoints", "none that is paused, disabled or unverified has deliveries waiting")
    for lane in closed[:_SHOWN]:
        command = _COMMANDS[lane.state]
        why = f" ({lane.reason})" if lane.reason else ""
        yield warning(
            "endpoints",
            f"{waiting(lane.pending)} for {lane.endpoint_id} of tenant {lane.tenant}, which is "
            f"{lane.state}{why}",
            f"`tellwire endpoints {command} {lane.endpoint_id}` sends them",
        )
    if len(closed) > _SHOWN:
        yield warning(
            "endpoints",
            f"deliveries wait for {counted(len(closed) - _SHOWN, 'endpoint')} more that are not enabled",
            "`tellwire endpoints list` shows their states",
        )


def _broken(lanes: Sequence[LaneBacklog]) -> Iterator[Finding]:
    if not lanes:
        yield ok("circuits", "none is open that has deliveries waiting")
    for lane in lanes[:_SHOWN]:
        yield warning(
            "circuits",
            f"{waiting(lane.pending)} for {lane.endpoint_id} of tenant {lane.tenant}, which keeps "
            "failing: its circuit is open",
            f"see why it fails (`tellwire deliveries list --endpoint {lane.endpoint_id}`); it is tried now and then, "
            "and they flow again with the first success",
        )
    if len(lanes) > _SHOWN:
        yield warning(
            "circuits",
            f"{counted(len(lanes) - _SHOWN, 'circuit')} more are open",
            "the metric `tellwire_lanes` counts them",
        )


def _limited(lanes: Sequence[LaneBacklog]) -> Iterator[Finding]:
    """Those whose deliveries are late because the endpoint takes no more: by its receiver's word, or its settings."""
    late = [lane for lane in lanes if (lane.held_ms or lane.limited) and lane.oldest_ms > _LATE_MS]
    if not late:
        yield ok("limits", "none keeps deliveries waiting for long")
    for lane in late[:_SHOWN]:
        says = f"{waiting(lane.pending)} for {lane.endpoint_id} of tenant {lane.tenant}, the oldest "
        says += f"for {duration(lane.oldest_ms)}: "
        if lane.held_ms:
            yield warning(
                "limits",
                f"{says}its receiver is overloaded, and has asked to be left alone for {duration(lane.held_ms)} more",
                "nothing, if it recovers; with `max_in_flight` or `rate_limit` the endpoint gets less at a time",
            )
        else:
            yield warning(
                "limits",
                f"{says}more is published than its `rate_limit` or `max_in_flight` lets through",
                "ask its owner whether it can take more, or have it get less: fewer types, a filter, batches",
            )
    if len(late) > _SHOWN:
        yield warning(
            "limits",
            f"deliveries wait for the limits of {counted(len(late) - _SHOWN, 'endpoint')} more",
            'deliveries that wait so show `"waiting_for": "rate"`',
        )


def _blocked(lanes: Sequence[LaneBacklog]) -> Iterator[Finding]:
    """Those with an order where somebody has to decide."""
    blocked = [lane for lane in lanes if lane.blocked]
    if not blocked:
        yield ok("order", "no line is blocked by a delivery that is exhausted")
    for lane in blocked[:_SHOWN]:
        yield warning(
            "order",
            f"{waiting(lane.blocked)} in {counted(lane.blocked_lines, 'line')} of {lane.endpoint_id} of tenant "
            f"{lane.tenant} behind one that is exhausted, and `on_exhausted` is `block`",
            f"find it (`tellwire deliveries list --state exhausted --endpoint {lane.endpoint_id}`), then retry it or "
            "cancel it; or set `on_exhausted` to `continue`",
        )
    if len(blocked) > _SHOWN:
        yield warning(
            "order",
            f"lines of {counted(len(blocked) - _SHOWN, 'endpoint')} more are blocked",
            "`tellwire deliveries list --state exhausted` names what blocks them",
        )


def _failing(endpoints: Sequence[Failing], most_ms: int) -> Iterator[Finding]:
    """Those that have been warned of: they are disabled when they have failed for ``most_ms``."""
    if most_ms and not endpoints:
        yield ok("failing", "no endpoint has failed for so long that it is about to be disabled")
    for one in sorted(endpoints, key=lambda one: one.since_ms)[:_SHOWN]:
        id, failed_ms = encode(ENDPOINT, one.endpoint_id), one.last_ms - one.since_ms
        yield warning(
            "failing",
            f"every attempt to {id} has failed for {duration(failed_ms)}: after {duration(most_ms)} it is disabled",
            f"see why it fails (`tellwire deliveries list --endpoint {id}`) and tell its owner; one success is enough",
        )
    if len(endpoints) > _SHOWN:
        yield warning(
            "failing",
            f"{counted(len(endpoints) - _SHOWN, 'endpoint')} more have failed for long",
            "the log lines `endpoint keeps failing` name them",
        )
