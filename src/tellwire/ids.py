"""Ids: UUIDv7 inside (16 bytes, ordered by time), TypeIDs outside (``evt_01k...``).

Time-ordered ids keep new rows together at the right edge of every index, which is what makes inserting cheap;
the prefix says what an id is, so that an endpoint's id is never taken for an event's.

Sources: RFC 9562 section 5.7 (UUIDv7), TypeID specification 0.3 (prefix, underscore, 26 characters of
Crockford's base 32).
"""

import random as _random
import re
from collections.abc import Callable
from typing import Final

EVENT: Final = "evt"
ENDPOINT: Final = "ep"
DELIVERY: Final = "dlv"
ATTEMPT: Final = "att"
KEY: Final = "key"
REPLAY: Final = "rpl"
AUDIT: Final = "aud"
REQUEST: Final = "req"
BATCH: Final = "bat"

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Characters are looked up in twos and threes: the publish path makes an id's text for every event.
_PAIRS: Final = [high + low for high in _ALPHABET for low in _ALPHABET]
_TRIPLES: Final = [pair + low for pair in _PAIRS for low in _ALPHABET]
_VALUES: Final = {pair: value for value, pair in enumerate(_PAIRS)}
_FORM: Final = re.compile(r"([a-z]{1,8})_([0-7][0-9a-hjkmnp-tv-z]{25})")

_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0x2 << 62
_RANDOM_BITS: Final = 74


class IdMaker:
    """Makes UUIDv7s that never go backwards within a process, also when the clock does."""

    def __init__(self, now_ms: Callable[[], int], random: _random.Random | None = None) -> None:
        """Take the time from ``now_ms`` (a clock's) and the rest from ``random`` (by default seeded by the system)."""
        self._now_ms = now_ms
        # Ids are names, not secrets: a generator ten times faster than the system's is good enough.
        random = random or _random.Random()  # noqa: S311 - see above
        self._getrandbits: Callable[[int], int] = random.getrandbits
        self._ms = -1
        self._tail = 0

    def __call__(self) -> bytes:
        """A new id: 16 bytes, greater than every one that this maker made before."""
        now_ms = self._now_ms()
        if now_ms > self._ms:
            self._ms = now_ms
            # The top bit starts at zero, so that counting up within a millisecond cannot overflow.
            self._tail = self._getrandbits(_RANDOM_BITS - 1)
        else:
            self._tail += 1 + self._getrandbits(32)
            if self._tail >> _RANDOM_BITS:
                self._ms += 1
                self._tail = self._getrandbits(_RANDOM_BITS - 1)
        tail = self._tail
        value = (self._ms << 80) | _VERSION | ((tail >> 62) << 64) | _VARIANT | (tail & ((1 << 62) - 1))
        return value.to_bytes(16, "big")


def encode(prefix: str, raw: bytes) -> str:
    """The TypeID of 16 bytes: ``encode("evt", raw) == "evt_01k..."``."""
    value = int.from_bytes(raw, "big")
    # 130 bits as 10 + 8 * 15, in pieces that fit Python's small digits.
    high, middle, low = value >> 75, (value >> 30) & 0x1FFFFFFFFFFF, value & 0x3FFFFFFF
    triples = _TRIPLES
    return (
        f"{prefix}_{_PAIRS[high >> 45]}{triples[(high >> 30) & 32767]}{triples[(high >> 15) & 32767]}"
        f"{triples[high & 32767]}{triples[middle >> 30]}{triples[(middle >> 15) & 32767]}"
        f"{triples[middle & 32767]}{triples[low >> 15]}{triples[low & 32767]}"
    )


def decode(prefix: str, text: str) -> bytes | None:
    """The 16 bytes of a TypeID, or None where ``text`` is no id of that prefix."""
    form = _FORM.fullmatch(text)
    if form is None or form[1] != prefix:
        return None
    digits = form[2]
    value = 0
    for start in range(0, 26, 2):
        value = (value << 10) | _VALUES[digits[start : start + 2]]
    return value.to_bytes(16, "big")


def moved_to(raw: bytes, ms: int) -> bytes:
    """The same id as if it had been made at another time."""
    return ms.to_bytes(6, "big") + raw[6:]


def time_ms(raw: bytes) -> int:
    """When an id was made (RFC 9562 section 5.7: its first 48 bits)."""
    return int.from_bytes(raw[:6], "big")


def behind(id: bytes, least: bytes) -> bytes:
    """An id that comes after ``least``: ``id`` itself, if it does."""
    if id > least:
        return id
    # Not just the next one: others may do the same at this moment.
    number = int.from_bytes(least, "big") + 1 + (int.from_bytes(id, "big") & 0xFFFFFFFF)
    return number.to_bytes(16, "big")
