"""Subscription: the event-type patterns that an endpoint listens to, and what else an event must be like."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from .limits import Limits

MAX_PATTERNS: Final = 500
"""Patterns in one subscription, at most."""

PATTERN_FORM: Final = r"^(?:[A-Za-z0-9_]+|\*)(?:\.(?:[A-Za-z0-9_]+|\*))*$"
PATTERN_SCHEMA: Final[dict[str, Any]] = {"pattern": PATTERN_FORM, "maxLength": Limits().pattern_chars}
_PATTERN: Final = re.compile(PATTERN_FORM)


class Envelope(StrEnum):
    """What the body of a request is: an event's data, and what goes around it (docs/how-to/shape-payloads.md)."""

    STANDARD = "standard"
    CLOUDEVENTS = "cloudevents"
    CLOUDEVENTS_BINARY = "cloudevents_binary"
    RAW = "raw"


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """Event-type patterns on one endpoint, and optionally a filter that an event must pass besides.

    An event is delivered once, however many subscriptions want it. ``filter`` is plain JSON
    (docs/reference/filters.md); ``{"data": {"amount": {"$gt": 100}}}``, for example. ``envelope`` is the form in
    which it is sent; None, in what is asked for, leaves it to the tenant's defaults: what is stored says it. ``fields``
    are dotted paths: nothing else of its data is sent. ``transform`` is a JMESPath expression over the event (``id``,
    ``type``, ``tenant``, ``timestamp``, ``data``): its result is sent instead of the data. A subscription has at most
    one of these two. The first subscription that wants an event decides.
    """

    events: tuple[str, ...]
    filter: dict[str, Any] | None = None
    envelope: Envelope | None = None
    fields: tuple[str, ...] | None = None
    transform: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it sends events in the usual form."""
        usual = self.envelope in (None, Envelope.STANDARD)
        return usual and self.fields is None and self.transform is None


def with_envelope(subscriptions: Iterable[Subscription], envelope: Envelope) -> tuple[Subscription, ...]:
    """The subscriptions, those without an envelope with this one."""
    return tuple(
        msgspec.structs.replace(one, envelope=envelope) if one.envelope is None else one
        for one in subscriptions
    )


def is_pattern(text: str, max_chars: int = 128) -> bool:
    """Whether ``text`` is a pattern: a type name in which whole segments may be ``*`` (docs/reference/glossary.md)."""
    return len(text) <= max_chars and _PATTERN.fullmatch(text) is not None
