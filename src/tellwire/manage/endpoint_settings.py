"""An endpoint's settings as clients give them: merged into those that it has, and checked."""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import inspect

from tellwire.errors import FieldError, InvalidInputError
from tellwire.model.authentication import MASK, SECRET_FIELDS
from tellwire.model.endpoint_settings import DEFAULT_SETTINGS, SETTING_NAMES, EndpointSettings

from .authentication_checks import check_authentication
from .batch_checks import check_batch
from .faults import HEADER_VALUE, CheckUrl, Faults
from .retry_checks import check_retries
from .signing_checks import check_signing

_NO_SUCH_WORD: Final = re.compile("^Invalid (enum )?value ")
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]|\[\.\.\.\]")


def settings_after(
    patch: Mapping[str, Any], before: EndpointSettings = DEFAULT_SETTINGS
) -> EndpointSettings | None:
    """The settings after a JSON merge patch (RFC 7396), or None where the patch has none of them.

    Raises InvalidInputError with the path of what has the wrong type or is out of bounds.
    """
    given = {name: value for name, value in patch.items() if name in SETTING_NAMES}
    if not given:
        return None
    try:
        return msgspec.convert(merged_deep(msgspec.to_builtins(before), given), EndpointSettings)
    except msgspec.ValidationError as error:
        raise InvalidInputError([fault_of(str(error), EndpointSettings)]) from None


def check_settings(settings: EndpointSettings, check_url: CheckUrl, faults: Faults) -> None:
    """What the types cannot say; what is wrong goes into ``faults``."""
    if settings.authentication is not None:
        check_authentication(settings.authentication, check_url, faults)
    if settings.signing is not None:
        check_signing(settings.signing, faults)
    if settings.user_agent is not None and not HEADER_VALUE.fullmatch(settings.user_agent):
        faults.add("user_agent", msg="may have visible ASCII characters and inner spaces only")
    check_retries(settings, faults)
    check_batch(settings, faults)


def merged_deep(before: Any, patch: Any) -> Any:
    """Plain JSON after a merge patch (RFC 7396), in which secrets that an answer had masked stay."""
    if isinstance(patch, list | tuple):
        return [_with_secrets(one, before) for one in _plain(patch)]
    if not isinstance(patch, Mapping):
        return _plain(patch)
    merged = dict(before) if isinstance(before, Mapping) else {}
    if patch.get("type", merged.get("type")) != merged.get("type"):
        merged = {}  # another kind of thing: nothing of what it was before
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif value == MASK and name in SECRET_FIELDS and name in merged:
            continue  # what an answer showed comes back: the secret stays
        else:
            merged[name] = merged_deep(merged.get(name), value)
    return merged


def _with_secrets(one: Any, before: Any) -> Any:
    """An item of a list that an answer showed: its secret is that of the item before with the same header."""
    if not isinstance(one, dict) or one.get("secret") != MASK or not isinstance(before, list | tuple):
        return one
    for was in before:
        if isinstance(was, Mapping) and "secret" in was and was.get("header") == one.get("header"):
            return one | {"secret": was["secret"]}
    return one


def _plain(value: Any) -> Any:
    """Without decimals: the bounds of settings are far within what a float tells apart."""
    match value:
        case Decimal():
            number = float(value)
            if not math.isfinite(number):
                return str(value)
            return int(number) if number.is_integer() else number  # 30.0 is an integer, says JSON Schema
        case list() | tuple():
            return [_plain(one) for one in value]
        case Mapping():
            return {name: _plain(inner) for name, inner in value.items()}
    return msgspec.to_builtins(value)


def fault_of(text: str, struct: type[msgspec.Struct]) -> FieldError:
    """The place and the words of an error of msgspec: ``Expected `int`, got `str` - at `$.rate_limit.limit```.

    Where a word is none of those that ``struct`` takes there, these are named.
    """
    msg, _, path = text.partition(" - at `$")
    loc = tuple(name or int(index) for name, index in _STEP.findall(path.removesuffix("`")) if name or index)
    got = _NO_SUCH_WORD.sub("", msg)
    words = _words_at(inspect.type_info(struct), loc) if got != msg else []
    if words:
        msg = f"expected {' or '.join(repr(word) for word in words)}, got {got}"
    return FieldError(loc, msg[:1].lower() + msg[1:])


def _words_at(found: inspect.Type, loc: Sequence[str | int]) -> list[str]:
    """The words that a type takes at a place in it."""
    match found:
        case inspect.UnionType(types=types):
            return [word for one in types for word in _words_at(one, loc)]
        case inspect.Metadata(type=within):
            return _words_at(within, loc)
        case inspect.LiteralType(values=values) if not loc:
            return [str(value) for value in values]
        case inspect.EnumType(cls=cls) if not loc:
            return [str(one.value) for one in cls]
        case inspect.StructType(tag_field=str(field), tag=tag) if tuple(loc) == (field,):
            return [str(tag)]
        case inspect.StructType(fields=fields) if loc:
            return [
                word for one in fields if one.encode_name == loc[0] for word in _words_at(one.type, loc[1:])
            ]
        case inspect.VarTupleType(item_type=item) if loc and isinstance(loc[0], int):
            return _words_at(item, loc[1:])
    return []
