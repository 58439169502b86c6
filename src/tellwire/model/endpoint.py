"""Endpoint: where a tenant receives. URL, secrets, subscriptions, state."""

from datetime import datetime
from enum import StrEnum

import msgspec

from .authentication import without_values
from .endpoint_settings import DEFAULT_SETTINGS, EndpointSettings
from .subscription import Subscription


class EndpointState(StrEnum):
    """``paused``: events are kept and wait. ``disabled``: no new deliveries; what is pending waits too.

    ``unverified``: its URL has yet to prove that it wants deliveries; events are kept and wait until it has. A state of
    its own rather than a pause, because nobody but its receiver ends it.
    """

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"
    UNVERIFIED = "unverified"


class Endpoint(msgspec.Struct, frozen=True):
    """Where a tenant receives events. Its secrets are kept apart (see ``store.secrets``)."""

    id: str
    tenant: str
    url: str
    description: str
    subscriptions: tuple[Subscription, ...]
    headers: dict[str, str]
    metadata: dict[str, str]
    state: EndpointState
    state_reason: str | None
    created_at: datetime
    updated_at: datetime
    settings: EndpointSettings = DEFAULT_SETTINGS

    def __repr__(self) -> str:
        """Without the values of headers, since reprs end up in logs."""
        fields = msgspec.structs.asdict(self) | {"headers": without_values(self.headers)}
        return f"Endpoint({', '.join(f'{name}={value!r}' for name, value in fields.items())})"
