"""What a patch makes of an endpoint, and subscribing and unsubscribing of its subscriptions; unchecked as yet."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tellwire.errors import InvalidInputError
from tellwire.model.authentication import MASK
from tellwire.model.endpoint import Endpoint
from tellwire.model.subscription import Subscription

from .asked import merged
from .endpoint_settings import settings_after


def subscriptions_of(
    events: Sequence[str] | None, subscriptions: Sequence[Subscription] | None
) -> tuple[Subscription, ...]:
    """What ``events`` are short for, or ``subscriptions`` where those were given."""
    return tuple(subscriptions or ()) if events is None else (Subscription(tuple(events)),)


def widened(before: tuple[Subscription, ...], events: Sequence[str]) -> tuple[Subscription, ...]:
    """``before`` with these patterns in the first subscription without a filter, which is made if there is none."""
    for index, one in enumerate(before):
        if one.filter is None:
            wider = msgspec.structs.replace(one, events=tuple(dict.fromkeys([*one.events, *events])))
            return (*before[:index], wider, *before[index + 1 :])
    return (*before, Subscription(tuple(dict.fromkeys(events))))


def narrowed(before: tuple[Subscription, ...], events: Sequence[str]) -> tuple[Subscription, ...]:
    """``before`` without these patterns; subscriptions with a filter stay as they are, those without events go."""
    left = [
        one
        if one.filter is not None
        else msgspec.structs.replace(one, events=tuple(event for event in one.events if event not in events))
        for one in before
    ]
    return tuple(one for one in left if one.events)


def patched(endpoint: Endpoint, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that ``patch`` changes, as they are to be (RFC 7396)."""
    fields: dict[str, Any] = {}
    if "url" in patch:
        if patch["url"] is None:
            raise InvalidInputError.at("url", msg="cannot be cleared")
        fields["url"] = patch["url"]
    if "description" in patch:
        fields["description"] = patch["description"] or ""
    if "events" in patch:
        fields["subscriptions"] = () if patch["events"] is None else subscriptions_of(patch["events"], None)
    if "subscriptions" in patch:
        fields["subscriptions"] = tuple(patch["subscriptions"] or ())
    if "metadata" in patch:
        fields["metadata"] = merged(endpoint.metadata, patch["metadata"])
    if "headers" in patch:
        # The case of a header's name means nothing (RFC 9110 section 5.1), so it must not keep an old value alive.
        known = {name.lower(): value for name, value in endpoint.headers.items()}
        given = {
            # What an answer showed comes back: the value stays.
            name: known.get(name.lower(), MASK) if value == MASK else value
            for name, value in (patch["headers"] or {}).items()
        }
        lower = {name.lower() for name in given}
        kept = {name: value for name, value in endpoint.headers.items() if name.lower() not in lower}
        fields["headers"] = merged(kept, None if patch["headers"] is None else given)
    settings = settings_after(patch, endpoint.settings)
    if settings is not None:
        fields["settings"] = settings
    return fields


def mended(before: Endpoint, after: Endpoint) -> bool:
    """Whether something has changed that may be why its receiver wanted to be left alone."""
    return (
        before.url != after.url
        or before.headers != after.headers
        or before.settings.authentication != after.settings.authentication
    )
