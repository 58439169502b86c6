"""Subscription: the event-type patterns that an endpoint listens to."""

import re
from typing import Final

import msgspec

_PATTERN: Final = re.compile(r"(?:[A-Za-z0-9_]+|\*)(?:\.(?:[A-Za-z0-9_]+|\*))*")


class Subscription(msgspec.Struct, frozen=True):
    """Event-type patterns on one endpoint; an event is delivered once however many of them match."""

    events: tuple[str, ...]


def is_pattern(text: str, max_chars: int = 128) -> bool:
    """Whether ``text`` is a pattern: a type name in which whole segments may be ``*`` (docs/reference/glossary.md)."""
    return len(text) <= max_chars and _PATTERN.fullmatch(text) is not None
