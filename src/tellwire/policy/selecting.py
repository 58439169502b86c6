"""Field selection: which parts of an event's data a subscription passes on, by dotted paths.

What is kept is kept byte for byte: the data is opened level by level, only as far as the paths go, and what lies below
a path is never parsed. It is total: whatever the data holds, it answers and never raises. The work is bounded by the
size of the data and by the depth of the paths.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from ..errors import FieldError, InvalidInputError, LimitExceededError
from ..model.limits import Limits

MAX_PATH_CHARS: Final = 256
MAX_PATH_DEPTH: Final = 16
"""How many names a path may have."""
PATH_FORM: Final = rf"^[^.]+(?:\.[^.]+){{0,{MAX_PATH_DEPTH - 1}}}$"

_MAX_FAULTS: Final = 20

Tree = dict[str, "Tree | None"]
"""What is kept of an object: names, and what is kept below them; None: all of it."""

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def compile_fields(paths: Sequence[str]) -> Tree:
    """The tree of what these paths keep; where one lies within another, the wider one holds."""
    tree: Tree = {}
    for path in paths:
        _add(tree, path.split("."))
    return tree


def _add(tree: Tree, names: Sequence[str]) -> None:
    for name in names[:-1]:
        below = tree.setdefault(name, {})
        if below is None:
            return
        tree = below
    tree[names[-1]] = None


def check_fields_of(paths: Sequence[str], limits: Limits) -> None:
    """Check the paths of a subscription.

    Raises:
        InvalidInputError: every fault (at most 20), located inside the list.
        LimitExceededError: they are too many.
    """
    most = limits.fields_per_subscription
    if len(paths) > most:
        fault = FieldError((), f"must be at most {most} paths")
        raise LimitExceededError([fault], limit="fields_per_subscription", maximum=most)
    faults = [FieldError((n,), msg) for n, path in enumerate(paths) for msg in [_fault(path)] if msg]
    if not paths:
        faults = [FieldError((), "must name a field; leave it out to send all of the data")]
    if faults:
        raise InvalidInputError(faults[:_MAX_FAULTS])


def _fault(path: str) -> str | None:
    if len(path) > MAX_PATH_CHARS:
        return f"must have at most {MAX_PATH_CHARS} characters"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "has a lone surrogate, which is no character"
    names = path.split(".")
    if not all(names):
        return "is no path: names with single dots between, such as customer.id"
    if len(names) > MAX_PATH_DEPTH:
        return f"must have at most {MAX_PATH_DEPTH} names"
    return None


def select(tree: Tree, data: bytes) -> bytes:
    """What the tree keeps of the data, which is the text of a JSON object.

    Names keep their order. Arrays on the way are gone through: of each element that is an object (or an array again)
    what is kept of it stands in its place, all others are left out. Names that are not there are passed over.
    """
    return _kept(tree, msgspec.Raw(data)) or b"{}"


def _kept(tree: Tree, value: msgspec.Raw) -> bytes | None:
    """What is kept of a value; None where it is no object and no array."""
    first = bytes(memoryview(value)[:1])
    if first == b"{":
        parts: list[bytes] = []
        for name, inner in _object(value).items():
            if name not in tree:
                continue
            below = tree[name]
            kept = bytes(inner) if below is None else _kept(below, inner)
            if kept is not None:
                parts.append(b"%b:%b" % (_encode(name), kept))
        return b"{" + b",".join(parts) + b"}"
    if first == b"[":
        elements = [_kept(tree, element) for element in _array(value)]
        return b"[" + b",".join([one for one in elements if one is not None]) + b"]"
    return None
