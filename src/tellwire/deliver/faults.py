"""Faults: from what the HTTP client raised to the class of error that an attempt records.

Place in the life of an event: the transport asks when an attempt got no whole answer. The classes are those
of ``AttemptError``; the sentences are for people and quote neither headers nor bodies nor the URL, whose
query may hold a secret.
"""

import os
import re
from typing import Final

from pyreqwest.exceptions import (
    ClientClosedError,
    DetailedPyreqwestError,
    RequestError,
    RequestTimeoutError,
)

from tellwire.model.attempt import AttemptError

SHUTTING_DOWN: Final = "the connection was closed because Tellwire is shutting down"

_TLS: Final = re.compile(
    r"certificate|tls|ssl|handshake|fatal alert|peer sent|corrupt message|received (?:un)?expected", re.I
)
# The client's exception classes do not tell connecting from sending; its causes do.
_CONNECTING: Final = "client error (Connect)"
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_MAX_CHARS: Final = 200


def fault_of(exception: Exception, timeout_s: float, *, answered: bool) -> tuple[AttemptError, str]:
    """The class of ``exception`` and a sentence on it; ``answered``: status and headers had arrived."""
    causes = _causes(exception)
    reason = causes[-1] if causes else "no reason given"
    if isinstance(exception, RequestTimeoutError):
        if answered:
            return AttemptError.TIMEOUT, f"the answer's body did not end within {timeout_s:g} s"
        if could_not_connect(exception):
            return AttemptError.TIMEOUT, f"no connection within {timeout_s / 2:g} s"
        return AttemptError.TIMEOUT, f"no answer within {timeout_s:g} s"
    if isinstance(exception, ClientClosedError):
        return AttemptError.CONNECT, SHUTTING_DOWN
    if answered:
        return AttemptError.BODY, f"the answer's body broke off: {reason}"
    if _CONNECTING in causes:
        if "dns error" in causes:
            return AttemptError.DNS, f"the name could not be resolved: {reason}"
        if any(_TLS.search(cause) for cause in causes):
            return AttemptError.TLS, f"no secure connection: {reason}"
        return AttemptError.CONNECT, f"no connection: {reason}"
    if isinstance(exception, RequestError):
        return AttemptError.PROTOCOL, f"no HTTP answer: {reason}"
    return AttemptError.PROTOCOL, f"the request could not be made ({type(exception).__name__})"


def reason_of(error: Exception) -> str:
    """What the system says of ``error``, where it is the one to say it."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{os.strerror(error.errno)} (os error {error.errno})"
    return type(error).__name__


def could_not_connect(exception: Exception) -> bool:
    """Whether the address itself seems at fault: refused, unreachable, or silent while connecting."""
    causes = _causes(exception)
    return _CONNECTING in causes and not any(_TLS.search(cause) for cause in causes)


def _causes(exception: Exception) -> list[str]:
    """What the client says of itself, outermost first; without the first sentence, which quotes the URL."""
    if not isinstance(exception, DetailedPyreqwestError):
        return []
    messages = [cause["message"] for cause in exception.details["causes"] or ()]
    return [_UNPRINTABLE.sub("?", text)[:_MAX_CHARS] for text in messages if " for url " not in text]
