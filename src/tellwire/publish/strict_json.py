"""JSON as Tellwire takes it in: what parsers disagree on is refused, so that all receivers read the same.

The first look at what was published, before `validation` reads the fields. Refused are duplicate keys, NaN
and Infinity, lone surrogates, invalid UTF-8 and byte order marks (RFC 8259 sections 4, 6 and 8; I-JSON, RFC
7493 section 2), integers of more than 4,300 digits (Python and many others stop there), and deep nesting.

The hot path for what is published is `check`: msgspec reads the text and writes it again, in C; for other text, it
is one call of jiter, in Rust. Finding out where exactly a fault sits is left to the cold path, `parse`.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import jiter
import msgspec

from ..errors import FieldError, InvalidInputError, LimitExceededError
from ..model.limits import Limits
from ..policy.filtering import decimal_of

_PLACE: Final = re.compile(r"(.*) at line (\d+) column (\d+)", re.DOTALL)
_MAX_TOKENS: Final = 500_000
"""`locate` gives up beyond this (about 0.15 s): an error message is not worth more of everybody's time."""

_MAX_NAME_CHARS: Final = 64

# The quantifiers are possessive: a string is never tried twice. The end of the text may cut a string off.
_STRING: Final = rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_TOKEN: Final = re.compile(_STRING + rb"|[{}\[\],:]", re.DOTALL)
_CONTAINERS: Final = (dict, list)
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_STYLE_BYTES: Final = 256
"""Whether JSON is written with spaces shows in its first bytes."""

_SHALLOW: Final = 180
"""Fewer levels than jiter refuses (200)."""


def parse(text: bytes, limits: Limits, *, loc_depth: int) -> object:
    """Check a whole JSON text strictly and return it as Python values (floats as jiter's ``LosslessFloat``).

    Args:
        text: the bytes that were published.
        limits: names the depth in the error for nesting; the exact check is `too_deep`.
        loc_depth: how many steps an error's location may go down from the top (1 names the member).

    Raises:
        InvalidInputError: exactly one fault. Text that is no JSON at all has the location ``()``; JSON that
            is refused (a duplicate key, say) names the member that holds the fault.
    """
    try:
        return jiter.from_json(
            text,
            allow_inf_nan=False,
            catch_duplicate_keys=True,
            float_mode="lossless-float",
            cache_mode="keys",
        )
    except ValueError as error:
        raise _explain(str(error), text, limits, loc_depth) from None


def check(text: bytes, limits: Limits, *, loc_depth: int) -> object:
    """Like `parse`, for who does not look at fractions: they come out as plain floats, which costs less.

    What is accepted is the same. Text that an encoder makes again, byte for byte, from what was read is the JSON
    of a value whose objects have each key once, in UTF-8, without NaN and lone surrogates: nothing is left to
    be refused but nesting. Most programs write such text. All other text is left to jiter.
    """
    if text.find(b'": ', 0, _STYLE_BYTES) < 0 and text.find(b"\n", 0, _STYLE_BYTES) < 0:
        try:
            value = _decode(text)
            if _encode(value) == text and not too_deep(text, value, _SHALLOW):
                return value
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            pass  # The cold path says why.
    try:
        return jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError:
        return parse(text, limits, loc_depth=loc_depth)


def too_deep(text: bytes, value: object, max_depth: int) -> bool:
    """Whether JSON nests more than ``max_depth`` objects and arrays; ``value`` is what ``parse`` made of ``text``.

    No recursion: one level after the other, and only as long as the brackets that are left could nest too deep.
    Brackets inside strings count as well, which only makes it look further. An array of many flat objects is looked
    through, but none of the objects in it.
    """
    left = _how_many(b"{", text) + _how_many(b"[", text)
    if left <= max_depth:
        return False
    level: list[Any] = [value] if type(value) in _CONTAINERS else []
    for depth in range(1, max_depth + 1):
        # What is deeper than this level takes at least one bracket for each further level.
        left -= len(level)
        if depth + left <= max_depth:
            return False
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return bool(level)


def _how_many(bracket: bytes, text: bytes) -> int:
    """What ``text.count(bracket)`` gives, in a fifth of the time: ``replace`` leaps from one to the next (memchr)."""
    return len(text) - len(text.replace(bracket, b""))


def with_decimals(value: object) -> object:
    """What ``parse`` made, with each ``LosslessFloat`` as a decimal of the same digits.

    An exponent that no decimal can have makes it infinite or zero: see ``policy.filtering``.
    """
    match value:
        case jiter.LosslessFloat():
            return decimal_of(str(value))
        case dict():
            return {name: with_decimals(inner) for name, inner in value.items()}
        case list():
            return [with_decimals(inner) for inner in value]
    return value


def shorten(name: str) -> str:
    """A name that a stranger chose, short enough for an error message."""
    return name if len(name) <= _MAX_NAME_CHARS else name[:_MAX_NAME_CHARS] + "..."


def locate(text: bytes, offset: int) -> tuple[str | int, ...]:
    """The path of keys and indexes that is open at ``offset``, also in text that is no JSON further on."""
    path: list[str | int | None] = []
    last_string = b'""'
    for count, match in enumerate(_TOKEN.finditer(text, 0, offset)):
        if count >= _MAX_TOKENS:
            return ()
        token = match[0]
        if token == b"{":
            path.append(None)
        elif token == b"[":
            path.append(0)
        elif token[0] == 0x22:
            last_string = token
        elif not path:
            continue
        elif token == b",":
            step = path[-1]
            path[-1] = step + 1 if isinstance(step, int) else None
        elif token == b":":
            path[-1] = _name(last_string)
        else:
            path.pop()
    known: list[str | int] = []
    for step in path:
        if step is None:
            break
        known.append(step)
    return tuple(known)


def _name(string: bytes) -> str | None:
    try:
        return shorten(msgspec.json.decode(string, type=str))
    except ValueError:
        return None


_REFUSALS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    (
        "Detected duplicate key",
        lambda reason: f"the key {shorten(reason[24:-1])!r} appears twice in an object",
    ),
    ("lone leading surrogate", lambda _: r"a lone surrogate (\ud800 to \udfff) is no character"),
    ("unexpected end of hex escape", lambda _: r"a lone surrogate (\ud800 to \udfff) is no character"),
    ("invalid unicode code point", lambda _: "the text is not UTF-8"),
    ("number out of range", lambda _: "an integer has more than 4,300 digits; send it as a string"),
)


def _explain(message: str, text: bytes, limits: Limits, loc_depth: int) -> InvalidInputError:
    place = _PLACE.fullmatch(message)
    if place is None:
        return InvalidInputError.at(msg=f"not JSON: {message}")
    reason, line, column = place[1], int(place[2]), int(place[3])
    where = f"at line {line} column {column}"
    # jiter counts columns in bytes, from 1.
    offset = len(text) - len(text.split(b"\n", line - 1)[-1]) + column - 1
    if reason == "recursion limit exceeded":
        return LimitExceededError(
            [FieldError(locate(text, offset)[:loc_depth], deep_fault(limits))],
            limit="json_depth",
            maximum=limits.json_depth,
        )
    if text.startswith((b"NaN", b"Infinity"), offset):
        msg = f"NaN and Infinity are no JSON; send null or a string {where}"
        return InvalidInputError.at(*locate(text, offset)[:loc_depth], msg=msg)
    for beginning, describe in _REFUSALS:
        if reason.startswith(beginning):
            loc = locate(text, offset)[:loc_depth]
            return InvalidInputError.at(*loc, msg=f"{describe(reason)} {where}")
    if text.startswith(b"\xef\xbb\xbf"):
        return InvalidInputError.at(msg="not JSON: it begins with a byte order mark; send plain UTF-8")
    return InvalidInputError.at(msg=f"not JSON: {reason} {where}")


def deep_fault(limits: Limits) -> str:
    """The sentence for JSON that nests deeper than the limit."""
    return f"nested too deeply; at most {limits.json_depth} levels of objects and arrays are allowed"
