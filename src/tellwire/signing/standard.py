"""Standard Webhooks on the wire: the three headers of a request, made by senders and checked by receivers.

The last step before an attempt is sent (``headers``), and the first when a webhook is received (``verify``).

    webhook-id          the event, the same on every attempt
    webhook-timestamp   this attempt, whole seconds since 1970
    webhook-signature   ``v1,<base64>`` and/or ``v1a,<base64>``, one for each secret, with a space between

Each signature covers ``id.timestamp.body``, byte for byte.

Source: Standard Webhooks specification 1.0.0, "Signature scheme", "Webhook headers", "Verifying signatures".
"""

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Final

from ..errors import InvalidInputError, SignatureError
from .scheme import SCHEMES
from .secret import SigningSecret

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

DEFAULT_TOLERANCE_S: Final = 300
"""How far a timestamp may lie from the receiver's clock, before or after: as the reference libraries do."""

MAX_SIGNATURES: Final = 64
"""In one header. Each may cost an Ed25519 check (about 0.16 ms), and strangers write this header."""

_HEADERS: Final = frozenset((ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER))

# A full stop in the id would leave open where the id ends and the timestamp begins.
_ID_TO_SIGN: Final = re.compile(r"[!-\-/-~]{1,256}")
_ID_RECEIVED: Final = re.compile(r"[!-~]{1,256}")
# An id that ends like a timestamp: an honest request whose body begins with "1700000000." could be sent again
# with its timestamp moved into the id, and the beginning of its body as a fresh timestamp.
_SHIFTED_ID: Final = re.compile(r".*\.[0-9]+", re.DOTALL)
# Not int() alone: that takes signs, white space, underscores and the digits of every script.
_TIMESTAMP: Final = re.compile(r"0|[1-9][0-9]{0,11}")


def sign(secrets: Sequence[SigningSecret], message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of ``webhook-signature``: one signature for each secret, in their order.

    During a rotation pass the new secret and the old one; receivers accept a request when any signature
    matches.

    Args:
        secrets: at least one, each able to sign (``whsec_`` or ``whsk_``).
        message_id: goes out as ``webhook-id``: 1 to 256 visible ASCII characters without a full stop.
        timestamp_s: of this attempt, in whole seconds since 1970; goes out as ``webhook-timestamp``.
        body: exactly the bytes that are sent.

    Raises:
        InvalidInputError: no secret, a public key among them, or an id that cannot be signed safely.
        ValueError: the timestamp is not an integer.

    Source: Standard Webhooks specification 1.0.0, "Signature scheme".
    """
    if _ID_TO_SIGN.fullmatch(message_id) is None:
        raise InvalidInputError.at(
            "message_id",
            msg="must be 1 to 256 visible ASCII characters without a full stop",
        )
    if not secrets:
        raise InvalidInputError.at("secrets", msg="at least one secret is needed to sign")
    head = f"{message_id}.{timestamp_s:d}.".encode()
    encode = binascii.b2a_base64
    signatures = []
    for secret in secrets:
        key = secret.key
        signature = encode(key.sign(head, body), newline=False).decode()
        signatures.append(f"{key.scheme.identifier},{signature}")
    return " ".join(signatures)


def headers(
    secrets: Sequence[SigningSecret], message_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """The three headers that prove a request; arguments and errors as for ``sign``."""
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: f"{timestamp_s:d}",
        SIGNATURE_HEADER: sign(secrets, message_id, timestamp_s, body),
    }


def verify(
    secrets: Sequence[SigningSecret],
    headers: Mapping[str, str],
    body: bytes,
    now_s: int,
    tolerance_s: int = DEFAULT_TOLERANCE_S,
) -> None:
    """Return if the request was signed with one of ``secrets`` a short time ago; raise if not.

    It does not remember what it has seen: within the tolerance the same request passes twice. Use
    ``webhook-id`` to act once.

    Args:
        secrets: one, or several while they are rotated; ``whsec_`` and ``whpk_`` (``whsk_`` works too).
        headers: of the request; upper and lower case are alike.
        body: exactly the bytes that came, before any parsing.
        now_s: the receiver's time, in whole seconds since 1970.
        tolerance_s: how many seconds the timestamp may lie before or after ``now_s``, inclusive.

    Raises:
        SignatureError: the request is not proven; the message says what is wrong, and holds nothing secret.
        InvalidInputError: no secret was given.
        TypeError: the body is text, of which its bytes cannot be told; or headers are bytes, as ASGI has them.

    Source: Standard Webhooks specification 1.0.0, "Verifying signatures".
    """
    if not isinstance(body, bytes):
        raise TypeError(f"the body must be the bytes as received, not {type(body).__name__}")
    if not secrets:
        raise InvalidInputError.at("secrets", msg="at least one secret is needed to verify")
    message_id, timestamp, signature_list = _read(headers)
    _check_id(message_id)
    _check_timestamp(timestamp, now_s, tolerance_s)
    signatures = _signatures(signature_list)
    head = f"{message_id}.{timestamp}.".encode()
    if not any(secret.key.matches(head, body, signatures[secret.scheme.identifier]) for secret in secrets):
        raise SignatureError(_why_none_matches(secrets, signatures))


def _read(headers: Mapping[str, str]) -> tuple[str, str, str]:
    """The three headers, each there once: of two, the application might trust the one that is not checked."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str):
            raise TypeError(f"the names of headers must be text, not {type(name).__name__}")
        lowered = name.lower()
        if lowered in _HEADERS:
            if lowered in found:
                raise SignatureError(f"the header {lowered} came more than once")
            if not isinstance(value, str):
                raise TypeError(f"the header {lowered} must be text, not {type(value).__name__}")
            found[lowered] = value
    for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER):
        if not found.get(name):
            raise SignatureError(f"the header {name} is {'empty' if name in found else 'missing'}")
    return found[ID_HEADER], found[TIMESTAMP_HEADER], found[SIGNATURE_HEADER]


def _check_id(message_id: str) -> None:
    if _ID_RECEIVED.fullmatch(message_id) is None:
        raise SignatureError(f"{ID_HEADER} is not 1 to 256 visible ASCII characters")
    if _SHIFTED_ID.fullmatch(message_id) is not None:
        raise SignatureError(f"{ID_HEADER} ends in a full stop and digits, which may hide a replayed request")


def _check_timestamp(timestamp: str, now_s: int, tolerance_s: int) -> None:
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise SignatureError(f"{TIMESTAMP_HEADER} is not a whole number of seconds since 1970")
    age_s = now_s - int(timestamp)
    if abs(age_s) > tolerance_s:
        raise SignatureError(
            f"{TIMESTAMP_HEADER} is {abs(age_s)} s {'old' if age_s > 0 else 'in the future'}, where "
            f"{tolerance_s} s are allowed: the request was delayed or replayed, or a clock is wrong"
        )


def _signatures(header: str) -> dict[str, list[bytes]]:
    """The well-formed signatures under each scheme that we know; others are for other receivers."""
    items = header.split()
    if len(items) > MAX_SIGNATURES:
        raise SignatureError(
            f"{SIGNATURE_HEADER} holds {len(items)} signatures; {MAX_SIGNATURES} are allowed"
        )
    signatures: dict[str, list[bytes]] = {identifier: [] for identifier in SCHEMES}
    for item in items:
        identifier, _, text = item.partition(",")
        scheme = SCHEMES.get(identifier)
        if scheme is None:
            continue
        raw = _decode(text)
        if raw is not None and len(raw) == scheme.signature_bytes:
            signatures[identifier].append(raw)
    return signatures


def _decode(text: str) -> bytes | None:
    """Base64, but only in the one spelling that encoding gives: no signature can be written in two ways."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return raw if binascii.b2a_base64(raw, newline=False).decode() == text else None


def _why_none_matches(secrets: Sequence[SigningSecret], signatures: Mapping[str, Sequence[bytes]]) -> str:
    needed = sorted({secret.scheme.identifier for secret in secrets})
    if any(signatures[identifier] for identifier in needed):
        return (
            f"no signature in {SIGNATURE_HEADER} matches: the secret is another one, or the body or headers "
            "were changed on the way (verify the bytes as received, before any parsing)"
        )
    present = [identifier for identifier, found in signatures.items() if found]
    return (
        f"{SIGNATURE_HEADER} holds no well-formed {' or '.join(needed)} signature, which the given secrets "
        f"need; it holds {' and '.join(present) if present else 'none that is known'}"
    )
