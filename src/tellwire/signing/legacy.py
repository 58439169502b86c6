"""Signatures in the form of other systems: an HMAC of some text with the body in it, in a header of any name.

Made beside those of Standard Webhooks, where an endpoint has the setting ``signing.legacy``: who moves from another
system can keep what they verify with.
"""

import binascii
import hmac
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ..model.signing_choice import LegacySignature

_PLACEHOLDER: Final = re.compile(r"\{(body|timestamp|id|url)\}")
_IN_PREFIX: Final = ("timestamp", "id")


def template_fault(text: str) -> str | None:
    """What is wrong with the template of what is signed."""
    pieces = _pieces(text)
    if sum(1 for piece in pieces[1::2] if piece == "body") != 1:
        return "must have {body} once"
    return _stray(pieces[::2], "{body}, {timestamp}, {id} and {url}")


def prefix_fault(text: str) -> str | None:
    """What is wrong with a prefix."""
    pieces = _pieces(text)
    if not all(piece in _IN_PREFIX for piece in pieces[1::2]):
        return "may have {timestamp} and {id} only"
    return _stray(pieces[::2], "{timestamp} and {id}")


def legacy_headers(
    signatures: Iterable[LegacySignature], *, message_id: str, timestamp_s: int, url: str, body: bytes
) -> dict[str, str]:
    """The headers of these signatures, in lower case.

    Args:
        signatures: as they are set; templates must have passed ``template_fault`` and ``prefix_fault``.
        message_id: of the event.
        timestamp_s: of this attempt, in whole seconds since 1970.
        url: of the endpoint, as it was given.
        body: exactly the bytes that are sent.
    """
    values = {
        "id": message_id.encode(),
        "timestamp": b"%d" % timestamp_s,
        "url": url.encode(),
        "body": body,
    }
    made: dict[str, str] = {}
    for one in signatures:
        raw = hmac.digest(one.secret.encode(), _filled(one.template, values), one.algorithm)
        text = raw.hex() if one.encoding == "hex" else binascii.b2a_base64(raw, newline=False).decode()
        made[one.header.lower()] = _filled(one.prefix, values).decode() + text
        if one.timestamp_header:
            made[one.timestamp_header.lower()] = f"{timestamp_s:d}"
    return made


def _filled(text: str, values: dict[str, bytes]) -> bytes:
    pieces = _pieces(text)
    return b"".join([values[piece] if index % 2 else piece.encode() for index, piece in enumerate(pieces)])


@lru_cache(maxsize=1024)
def _pieces(text: str) -> tuple[str, ...]:
    """Text and names of placeholders in turn, beginning and ending with text."""
    return tuple(_PLACEHOLDER.split(text))


def _stray(texts: Iterable[str], known: str) -> str | None:
    if any("{" in text or "}" in text for text in texts):
        return f"may have no braces but those of {known}"
    return None
