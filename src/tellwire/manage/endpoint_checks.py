"""What an endpoint may be: its fields, checked before anything is stored. Every fault is named, not just the first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tellwire.errors import FieldError, InvalidInputError, LimitExceededError, NotFoundError
from tellwire.model.authentication import MASK
from tellwire.model.limits import Limits
from tellwire.model.subscription import Subscription
from tellwire.policy.filter_syntax import check_filter
from tellwire.policy.matching import check_patterns
from tellwire.policy.selecting import check_fields_of
from tellwire.policy.transforming import check_transform
from tellwire.store.endpoints import Room

from .endpoint_settings import check_settings
from .faults import HEADER_VALUE, CheckUrl, Faults, header_name_fault


def check_fields(
    fields: Mapping[str, Any], check_url: CheckUrl, limits: Limits, *, shorthand: bool
) -> dict[str, Any]:
    """Check those fields of an endpoint that are given, and give them as they can be stored.

    Who wrote ``events`` (``shorthand``) is told about them, not about the subscription that they are short for.

    Raises InvalidInputError, LimitExceededError.
    """
    try:
        return _checked_fields(fields, check_url, limits)
    except InvalidInputError as error:
        if not shorthand:
            raise
        errors = [_unfolded(fault) for fault in error.errors]
        if isinstance(error, LimitExceededError):
            raise LimitExceededError(errors, limit=error.limit, maximum=error.maximum) from None
        raise InvalidInputError(errors) from None


def check_room(tenant: str, room: Room | None, limits: Limits) -> None:
    """Whether a tenant may have one more endpoint; no room: there is no such tenant.

    Raises InvalidInputError, LimitExceededError.
    """
    if room is None:
        raise InvalidInputError.at("tenant", msg=str(NotFoundError("tenant", tenant)))
    most = limits.endpoints_per_tenant if room.limits.endpoints is None else room.limits.endpoints
    if room.taken > most:
        fault = FieldError(("tenant",), f"tenant {tenant!r} has {most} endpoints, which is the limit")
        raise LimitExceededError([fault], limit="endpoints_per_tenant", maximum=most)


def _unfolded(fault: FieldError) -> FieldError:
    match fault.loc:
        case ("subscriptions", int(), *rest):
            return FieldError(tuple(rest), fault.msg)
        case _:
            return fault


def _checked_fields(fields: Mapping[str, Any], check_url: CheckUrl, limits: Limits) -> dict[str, Any]:
    faults = Faults()
    checked = dict(fields)
    if "url" in fields:
        try:
            check_url(fields["url"])
        except InvalidInputError as error:
            faults.take(error)
    if len(fields.get("description", "")) > limits.description_chars:
        limit = ("description_chars", limits.description_chars)
        faults.add("description", msg=f"must have at most {limits.description_chars} characters", limit=limit)
    if "subscriptions" in fields:
        checked["subscriptions"] = checked_subscriptions(fields["subscriptions"], limits, faults)
    if "headers" in fields:
        _check_headers(fields["headers"], limits, faults)
    if "settings" in fields:
        check_settings(fields["settings"], check_url, faults)
    size_bytes = sum(len(text.encode()) for pair in fields.get("metadata", {}).items() for text in pair)
    if size_bytes > limits.metadata_bytes:
        limit = ("metadata_bytes", limits.metadata_bytes)
        faults.add("metadata", msg=f"must have at most {limits.metadata_bytes} bytes in all", limit=limit)
    faults.raise_any()
    return checked


def checked_subscriptions(
    subscriptions: Sequence[Subscription], limits: Limits, faults: Faults
) -> tuple[Subscription, ...]:
    """The subscriptions of an endpoint with their filters as plain JSON; what is wrong goes into ``faults``."""
    if len(subscriptions) > limits.subscriptions_per_endpoint:
        limit = ("subscriptions_per_endpoint", limits.subscriptions_per_endpoint)
        faults.add("subscriptions", msg=f"must be at most {limits.subscriptions_per_endpoint}", limit=limit)
        return ()
    checked: list[Subscription] = []
    for index, subscription in enumerate(subscriptions):
        for fault in check_patterns(subscription.events, limits):
            faults.add("subscriptions", index, "events", *fault.loc, msg=fault.msg)
        filter = subscription.filter
        if filter is not None:
            try:
                filter = check_filter(filter, limits)
            except InvalidInputError as error:
                faults.take(error, "subscriptions", index, "filter")
        _check_shape(subscription, limits, index, faults)
        checked.append(msgspec.structs.replace(subscription, filter=filter))
    return tuple(checked)


def _check_shape(subscription: Subscription, limits: Limits, index: int, faults: Faults) -> None:
    at = ("subscriptions", index)
    fields, transform = subscription.fields, subscription.transform
    if fields is not None and transform is not None:
        faults.add(*at, "transform", msg="goes without fields: the transform says what is sent")
    if fields is not None:
        try:
            check_fields_of(fields, limits)
        except InvalidInputError as error:
            faults.take(error, *at, "fields")
    if transform is not None:
        try:
            check_transform(transform, limits)
        except InvalidInputError as error:
            faults.take(error, *at, "transform")


def _check_headers(headers: Mapping[str, str], limits: Limits, faults: Faults) -> None:
    if len(headers) > limits.custom_headers:
        limit = ("custom_headers", limits.custom_headers)
        faults.add("headers", msg=f"must be at most {limits.custom_headers}", limit=limit)
    size_bytes = sum(len(text.encode()) for pair in headers.items() for text in pair)
    if size_bytes > limits.custom_headers_bytes:
        limit = ("custom_headers_bytes", limits.custom_headers_bytes)
        faults.add(
            "headers", msg=f"must have at most {limits.custom_headers_bytes} bytes in all", limit=limit
        )
    for name, msg in _header_faults(headers):
        faults.add("headers", name, msg=msg)


def _header_faults(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for name, value in headers.items():
        fault = header_name_fault(name)
        if fault is not None:
            yield name, fault
        elif name.lower() in seen:
            yield name, "is given twice"
        elif value == MASK:
            yield name, f"{MASK} only stands for a value; give the value itself"
        elif not HEADER_VALUE.fullmatch(value):
            yield name, "has a value with characters other than visible ASCII and inner spaces"
        seen.add(name.lower())
