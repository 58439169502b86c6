"""Nouns as JSON, field for field as the HTTP API writes them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ..model.attempt import Attempt
from ..model.authentication import without_values
from ..model.endpoint import Endpoint
from ..model.endpoint_settings import shown_settings
from ..model.event import Receipt
from ..model.subscription import Envelope, Subscription
from .show import Shown, at, grid, plain


def receipt_fields(receipt: Receipt) -> dict[str, Any]:
    """A receipt."""
    return {
        "id": receipt.id,
        "type": receipt.type,
        "tenant": receipt.tenant,
        "occurred_at": at(receipt.occurred_at),
        "created_at": at(receipt.created_at),
        "deliveries": receipt.deliveries,
        "duplicate": receipt.duplicate,
    }


def endpoint_shown(endpoint: Endpoint, more: Mapping[str, object] | None = None) -> Shown:
    """An endpoint; ``events`` has the patterns of all its subscriptions."""
    events = list(dict.fromkeys(event for one in endpoint.subscriptions for event in one.events))
    fields = plain(endpoint) | {"events": events}
    del fields["settings"]
    fields["headers"] = without_values(endpoint.headers)
    fields |= shown_settings(endpoint.settings) | dict(more or {})
    for_people = {name: value for name, value in fields.items() if name != "subscriptions"}
    if any(one.filter is not None or not one.is_plain for one in endpoint.subscriptions):
        for_people["subscriptions"] = [_in_short(one) for one in endpoint.subscriptions]
    return Shown(fields, lambda: grid(for_people))


def _in_short(one: Subscription) -> str:
    """A subscription on one line, without what it does not have."""
    parts = [
        ", ".join(one.events),
        "" if one.filter is None else _json(one.filter),
        "" if one.envelope is Envelope.STANDARD else f"as {one.envelope}",
        "" if one.fields is None else f"fields {', '.join(one.fields)}",
        "" if one.transform is None else f"transform {one.transform}",
    ]
    return " ".join(filter(None, parts))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def attempt_fields(attempt: Attempt) -> dict[str, Any]:
    """An attempt; headers of the same name are joined."""
    headers: dict[str, str] = {}
    for name, value in attempt.response_headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return {**plain(attempt), "response_headers": headers}
