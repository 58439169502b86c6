"""A tenant's defaults as clients give them: merged into those that it has, and checked; and what comes of them."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from tellwire.errors import InvalidInputError
from tellwire.model.subscription import Envelope, Subscription, with_envelope
from tellwire.model.tenant import NO_DEFAULTS, TenantDefaults
from tellwire.store import tenants

from .endpoint_settings import fault_of, merged_deep
from .faults import Faults
from .retry_checks import check_policy

_FIELD: Final = "defaults"


def defaults_after(patch: Mapping[str, Any] | None, before: TenantDefaults = NO_DEFAULTS) -> TenantDefaults:
    """The defaults after a JSON merge patch (RFC 7396); null takes all of them back.

    Raises InvalidInputError with the path of what is wrong.
    """
    if patch is None:
        return NO_DEFAULTS
    try:
        after = msgspec.convert(merged_deep(msgspec.to_builtins(before), patch), TenantDefaults)
    except msgspec.ValidationError as error:
        raise InvalidInputError([fault_of(str(error), TenantDefaults).under(_FIELD)]) from None
    faults = Faults()
    if after.retry is not None:
        check_policy(after.retry, faults, _FIELD, "retry")
    faults.raise_any()
    return after


def in_form(
    connection: Connection, tenant: str, subscriptions: tuple[Subscription, ...]
) -> tuple[Subscription, ...]:
    """The subscriptions as they are stored: each says its envelope, be it only the default of its tenant."""
    if all(one.envelope is not None for one in subscriptions):
        return subscriptions
    default = tenants.defaults_of(connection, tenant).envelope
    return with_envelope(subscriptions, default or Envelope.STANDARD)
