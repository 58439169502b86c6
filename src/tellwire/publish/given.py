"""What Python code gives to ``publish`` and ``publish_many`` -> checked events. The step before the publisher."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from tellwire.errors import FieldError, InvalidInputError, LimitExceededError
from tellwire.model.event import NewEvent
from tellwire.model.limits import Limits

from .declared import Event
from .validation import event_from_python

_FIELDS: Final = {
    "type", "data", "tenant", "idempotency_key", "occurred_at", "deliver_at", "expires_at", "ordering_key",
}  # fmt: skip


def one_event(
    event: str | Event,
    data: object,
    limits: Limits,
    *,
    tenant: str | None,
    idempotency_key: str | None = None,
    occurred_at: datetime | None = None,
    deliver_at: datetime | None = None,
    expires_at: datetime | None = None,
    ordering_key: str | None = None,
) -> NewEvent:
    """The event of a call of ``publish``. Raises InvalidInputError."""
    type, data = (event.event_type, event) if isinstance(event, Event) else (event, data)
    return event_from_python(
        type,
        data,
        limits,
        tenant=tenant,
        idempotency_key=idempotency_key,
        occurred_at=occurred_at,
        deliver_at=deliver_at,
        expires_at=expires_at,
        ordering_key=ordering_key,
    )


def many_events(
    events: Iterable[Event | Mapping[str, Any]], tenant: str | None, limits: Limits
) -> list[NewEvent]:
    """The events of a call of ``publish_many``; ``tenant`` is for those that name none.

    Raises:
        InvalidInputError: some are wrong; each fault has its index.
        LimitExceededError: there are too many.
    """
    new: list[NewEvent] = []
    faults: list[FieldError] = []
    for index, event in enumerate(events):
        try:
            new.append(_from_item(event, tenant, limits))
        except InvalidInputError as error:
            faults += [fault.under("events", index) for fault in error.errors]
    most = limits.batch_events
    if len(new) + len(faults) > most:
        fault = FieldError(("events",), f"has more than {most} events")
        raise LimitExceededError([fault], limit="batch_events", maximum=most)
    if faults:
        raise InvalidInputError(faults)
    return new


def _from_item(item: Event | Mapping[str, Any], tenant: str | None, limits: Limits) -> NewEvent:
    if isinstance(item, Event):
        return one_event(item, None, limits, tenant=tenant)
    unknown = set(item) - _FIELDS
    if unknown:
        raise InvalidInputError(
            [FieldError((name,), "is not a field of an event") for name in sorted(unknown)]
        )
    return event_from_python(
        item.get("type", ""),
        item.get("data"),
        limits,
        tenant=item.get("tenant", tenant),
        idempotency_key=item.get("idempotency_key"),
        occurred_at=item.get("occurred_at"),
        deliver_at=item.get("deliver_at"),
        expires_at=item.get("expires_at"),
        ordering_key=item.get("ordering_key"),
    )
