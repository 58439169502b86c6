"""Trace context: which trace an event belongs to, as W3C Trace Context writes it (``traceparent``)."""

import re
from typing import Final

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)


def traceparent_of(text: str) -> str | None:
    """A ``traceparent`` in the form of version 00, or None where ``text`` is none: then it is to be ignored.

    Versions to come may add something at the end, which is left out (W3C Trace Context, 3.2).
    """
    found = _TRACEPARENT.fullmatch(text)
    if found is None or (text.startswith("00") and len(text) != 55):
        return None
    return "00-{}-{}-{}".format(*found.groups())


def trace_id_of(traceparent: str) -> str:
    """The id of the trace: 32 hexadecimal digits."""
    return traceparent[3:35]
