"""Tellwire: the event layer of an API. Publish events, deliver signed webhooks, lose nothing.

See https://github.com/tellwire/tellwire/tree/main/docs. Start with ``Tellwire``.
"""

from .errors import (
    ClosedError,
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    SettingsError,
    SignatureError,
    StoreError,
    StoreUnavailableError,
    StoreVersionError,
    TellwireError,
    UnauthorizedError,
)
from .hub import Options, Tellwire
from .model.event import Receipt
from .model.subscription import Subscription
from .publish.declared import Event
from .signing import parse_secret, verify
from .sync import SyncTellwire
from .version import __version__

__all__ = [
    "ClosedError",
    "ConflictError",
    "Event",
    "FieldError",
    "ForbiddenError",
    "InvalidInputError",
    "LimitExceededError",
    "NotFoundError",
    "Options",
    "Receipt",
    "SettingsError",
    "SignatureError",
    "StoreError",
    "StoreUnavailableError",
    "StoreVersionError",
    "Subscription",
    "SyncTellwire",
    "Tellwire",
    "TellwireError",
    "UnauthorizedError",
    "__version__",
    "parse_secret",
    "verify",
]
