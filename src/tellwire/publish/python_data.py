"""Python values -> the JSON text of an event's data, for those who publish from Python.

The step before `validation`, which then checks the text like one that came over HTTP. What JSON has no form
for is refused rather than bent: NaN, keys that are no strings, datetimes without a time zone, bytes.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from pydantic import BaseModel

from ..errors import InvalidInputError
from .strict_json import shorten

_JSON_SPACE: Final = b" \t\r\n"
_KEPT: Final = (datetime, Decimal, bytes, bytearray, memoryview)
"""Types that msgspec would turn into strings without the questions that `_default` asks."""


def encode_data(data: object) -> bytes:
    """The JSON text of ``data``.

    Bytes and ``msgspec.Raw`` are taken as JSON text that is ready (only white space around it goes). A
    pydantic model is written by itself, with its aliases. Everything else is what msgspec can turn into
    builtins: dicts, lists, dataclasses, structs, enums, UUIDs, dates. Integers keep every digit; a
    ``Decimal`` becomes a string, so that no receiver rounds it; datetimes become RFC 3339.

    Raises:
        InvalidInputError: the value has no faithful JSON form; the location is ``("data",)``.
    """
    if isinstance(data, bytes | bytearray | memoryview | msgspec.Raw):
        return bytes(data).strip(_JSON_SPACE)
    try:
        if isinstance(data, BaseModel):
            return data.model_dump_json(by_alias=True).encode()
        tree = msgspec.to_builtins(data, builtin_types=_KEPT, enc_hook=_to_plain)
        text = _ENCODER.encode(tree).encode()
        _check_keys(tree)
    except RecursionError:
        raise InvalidInputError.at("data", msg="nested too deeply, or it contains itself") from None
    except UnicodeEncodeError:
        raise InvalidInputError.at(
            "data", msg="a string holds a lone surrogate, which is no character"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError.at("data", msg=f"cannot be written as JSON: {error}") from error
    return text


def _to_plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return dict(value)
    # Subclasses of the plain types, which neither msgspec nor the json module is sure about.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _default(value: object) -> object:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(f"datetime {value.isoformat()} has no time zone")
        text = value.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"Decimal {value} is no number that JSON knows")
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form; encode it as a string")


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), default=_default
)


def _check_keys(tree: object) -> None:
    # The json module writes the key 1 as "1"; what was published would not be what arrives.
    pending = [tree]
    while pending:
        node = pending.pop()
        if type(node) is dict:
            for key in node:
                if type(key) is not str:
                    raise TypeError(f"key {shorten(repr(key))} is no string")
            pending.extend(node.values())
        elif type(node) is list or type(node) is tuple:
            pending.extend(node)
