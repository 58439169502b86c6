"""Audit entry: one change of the control plane. Who, what, when, and what was before and after, secrets masked."""

from datetime import datetime
from typing import Any, Final

import msgspec

from .authentication import MASK, without_values
from .endpoint_settings import without_secrets

ADMIN: Final = "admin"
"""The actor that showed the key of the settings."""
LOCAL: Final = "local"
"""The actor that called from the process itself: the command line, or the application that embeds Tellwire."""
ITSELF: Final = "tellwire"
"""The actor of what Tellwire does by itself."""


class Asker(msgspec.Struct, frozen=True):
    """On whose behalf a change is made: the id of an API key, ``ADMIN`` or ``LOCAL``; and in which request."""

    actor: str = LOCAL
    request_id: str | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    """One change. ``before`` and ``after`` have the fields that it changed; one is None for new and gone things.

    Attributes:
        action: such as ``endpoint.updated``.
        actor: see ``Asker``; ``ITSELF`` where nobody asked.
        tenant: whose thing it is; None where it is nobody's.
        subject: the id of the thing.
    """

    id: str
    at: datetime
    action: str
    actor: str
    tenant: str | None
    subject: str
    request_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def masked(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a thing without secrets: values of headers, queries of URLs (tokens live there), secrets."""
    shown = without_secrets(fields)
    if "headers" in shown:
        shown["headers"] = without_values(shown["headers"])
    if "secret" in shown:
        shown["secret"] = MASK
    if "url" in shown:
        address, query, _ = shown["url"].partition("?")
        shown["url"] = f"{address}?{MASK}" if query else address
    return shown
