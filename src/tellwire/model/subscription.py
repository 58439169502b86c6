"""Subscription: the event-type patterns that an endpoint listens to, and what else an event must be like."""

import re
from typing import Any, Final

import msgspec

_PATTERN: Final = re.compile(r"(?:[A-Za-z0-9_]+|\*)(?:\.(?:[A-Za-z0-9_]+|\*))*")


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """Event-type patterns on one endpoint, and optionally a filter that an event must pass besides.

    An event is delivered once, however many subscriptions want it. ``filter`` is plain JSON
    (docs/reference/filters.md); ``{"data": {"amount": {"$gt": 100}}}``, for example.
    """

    events: tuple[str, ...]
    filter: dict[str, Any] | None = None


def is_pattern(text: str, max_chars: int = 128) -> bool:
    """Whether ``text`` is a pattern: a type name in which whole segments may be ``*`` (docs/reference/glossary.md)."""
    return len(text) <= max_chars and _PATTERN.fullmatch(text) is not None
