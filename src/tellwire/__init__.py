"""Tellwire: the event layer of an API. Publish events, deliver signed webhooks, lose nothing.

See https://github.com/tellwire/tellwire/tree/main/docs. Start with ``Tellwire``.

The errors are here at once; every other name is imported when it is first used (PEP 562), so that ``tellwire --help``
and a receiver that only needs ``verify`` load no database.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import (
    ClosedError,
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    PreconditionFailedError,
    RemoteError,
    SettingsError,
    SignatureError,
    StoreError,
    StoreUnavailableError,
    StoreVersionError,
    TellwireError,
    UnauthorizedError,
)
from .version import __version__

if TYPE_CHECKING:
    from .deliver.egress import EgressPolicy
    from .deliver.engine import EngineOptions
    from .deliver.lanes import LaneBounds
    from .hub import Tellwire
    from .model.event import Receipt
    from .model.limits import Limits
    from .model.subscription import Subscription
    from .options import Options
    from .policy.retry import RetrySchedule
    from .publish.declared import Event
    from .receive import ReceivedEvent, unpack
    from .signing import parse_secret, verify
    from .sync import SyncTellwire

__all__ = [
    "ClosedError",
    "ConflictError",
    "EgressPolicy",
    "EngineOptions",
    "Event",
    "FieldError",
    "ForbiddenError",
    "InvalidInputError",
    "LaneBounds",
    "LimitExceededError",
    "Limits",
    "NotFoundError",
    "Options",
    "PreconditionFailedError",
    "Receipt",
    "ReceivedEvent",
    "RemoteError",
    "RetrySchedule",
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
    "unpack",
    "verify",
]

if not TYPE_CHECKING:  # type checkers take the imports above, and know every other name to be wrong
    _HOMES = {
        "EgressPolicy": "deliver.egress",
        "EngineOptions": "deliver.engine",
        "Event": "publish.declared",
        "LaneBounds": "deliver.lanes",
        "Limits": "model.limits",
        "Options": "options",
        "Receipt": "model.event",
        "ReceivedEvent": "receive",
        "RetrySchedule": "policy.retry",
        "Subscription": "model.subscription",
        "SyncTellwire": "sync",
        "Tellwire": "hub",
        "parse_secret": "signing",
        "unpack": "receive",
        "verify": "signing",
    }

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
