"""The text of API keys: recognisable, random, and with a checksum, so that scanners for leaked secrets can be sure.

    tw_live_ + 43 characters (256 random bits) + 6 characters (CRC32 of all before), both in base 62

A text with a wrong checksum was never a key: it is refused before anything is looked up. Older keys, ``tw_`` and what
follows, have no checksum and stay good.
"""

import zlib
from typing import Final

LIVE: Final = "tw_live_"
TEST: Final = "tw_test_"
SHOWN_CHARS: Final = 14
"""How much of a key lists show: the prefix, and a little to tell one key from another."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARS: Final = 43
_SUM_CHARS: Final = 6
_CHARS: Final = len(LIVE) + _RANDOM_CHARS + _SUM_CHARS


def key_text(random: bytes, *, test: bool) -> str:
    """The text of a new key, from 32 random bytes; ``test`` marks those of servers that are none of production."""
    body = (TEST if test else LIVE) + _base62(int.from_bytes(random, "big"), _RANDOM_CHARS)
    return body + _checksum(body)


def is_forged(text: str) -> bool:
    """Whether ``text`` looks like a key with a checksum, and the checksum is wrong."""
    if not text.startswith((LIVE, TEST)):
        return False
    body = text[:-_SUM_CHARS]
    return len(text) != _CHARS or _checksum(body) != text[-_SUM_CHARS:]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode(errors="replace")), _SUM_CHARS)


def _base62(number: int, chars: int) -> str:
    digits: list[str] = []
    for _ in range(chars):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
