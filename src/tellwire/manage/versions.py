"""Versions of endpoints, tenants and keys: the ``ETag`` that an answer has, and that a change may insist on.

A tag is a digest of all that the thing shows, secrets masked, and of when it was changed last. It is compared inside
the transaction of the change: of two who saw the same version, one changes it and the other is told.
"""

import hashlib
from base64 import urlsafe_b64encode
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from tellwire.errors import PreconditionFailedError
from tellwire.model.audit import masked

ANY: Final = "*"
EXPECTED: Final[ContextVar[frozenset[str] | None]] = ContextVar("tellwire_expected", default=None)
"""Which versions (tags, or ``ANY``) the running code may change; None: whichever is there."""

_UNTOLD: Final = frozenset({"last_used_at"})  # is written now and then, and is nobody's change


def tag_of(noun: msgspec.Struct) -> str:
    """The tag of a thing as it is now, in quotes (RFC 9110 section 8.8.3)."""
    fields: dict[str, Any] = {
        name: msgspec.to_builtins(value)
        for name, value in msgspec.structs.asdict(noun).items()
        if name not in _UNTOLD
    }
    fields |= fields.pop("settings", {})
    text = msgspec.json.encode(masked(fields), order="deterministic")
    return f'"{urlsafe_b64encode(hashlib.sha256(text).digest()[:15]).decode()}"'


def check_version(expected: frozenset[str] | None, noun: object) -> None:
    """Raises PreconditionFailedError: the thing has been changed since whoever changes it now has seen it."""
    if expected is None or ANY in expected or not isinstance(noun, msgspec.Struct):
        return
    if tag_of(noun) not in expected:
        raise PreconditionFailedError
