"""Endpoint: where a tenant receives. URL, secrets, subscriptions, state."""

from datetime import datetime
from enum import StrEnum

import msgspec

from .endpoint_settings import DEFAULT_SETTINGS, EndpointSettings
from .subscription import Subscription


class EndpointState(StrEnum):
    """``paused``: events are kept and wait. ``disabled``: no new deliveries; what is pending waits too."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"


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
