"""Whatever is published arrives byte for byte, or is refused in the one way that callers expect."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tellwire.errors import FieldError, InvalidInputError
from tellwire.model.limits import Limits
from tellwire.publish.strict_json import locate, too_deep
from tellwire.publish.validation import event_from_python, parse_batch, parse_event

LIMITS = Limits()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
DATA = st.dictionaries(TEXT, VALUES, max_size=6)
STYLES = st.sampled_from(
    [
        {"ensure_ascii": True},
        {"ensure_ascii": False, "separators": (",", ":")},
        {"indent": "\t"},
        {"indent": 1, "separators": (" ,\r\n", "  :  ")},
    ]
)
PIECES = [b'{"type":', b'"a.b"', b',"data":', b"{", b"}", b"[", b"]", b'"', b"\\", b"\\ud800", b"NaN", b"1e9"]
PIECES += [
    b',"tenant":',
    b',"occurred_at":',
    b'{"events":[',
    b":",
    b",",
    b"null",
    b"-0",
    b"\xff",
    b"\n",
    b"9" * 5_000,
]
NEARLY_JSON = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)


def faults_of(call: Callable[[], object]) -> tuple[FieldError, ...]:
    """The faults that the call was refused for; none if it went well. Any other error fails the test."""
    try:
        call()
    except InvalidInputError as error:
        return error.errors or (FieldError((), "an error without a fault"),)
    return ()


@given(DATA, STYLES)
def test_data_arrives_byte_for_byte(data: dict[str, Any], style: dict[str, Any]) -> None:
    """Any JSON object in any style comes out as the text that went in, alone or in a batch."""
    text = json.dumps(data, **style).encode()
    body = b'{ "data" : ' + text + b'\n, "type":"a"}'
    assert parse_event(body, LIMITS).data == text
    assert [event.data for event in parse_batch(b'{"events":[%b,%b]}' % (body, body), LIMITS)] == [text, text]
    assert event_from_python("a", text, LIMITS).data == text


@given(DATA)
def test_python_values_survive(data: dict[str, Any]) -> None:
    """What is published from Python reads back as the same values in the same order."""
    read = json.loads(event_from_python("a", data, LIMITS).data)
    assert read == data
    assert list(read) == list(data)


@given(st.binary(max_size=200) | NEARLY_JSON)
def test_any_bytes_are_an_event_or_invalid_input(body: bytes) -> None:
    """No bytes make the checks fail in any other way than with `InvalidInputError`."""
    faults_of(lambda: parse_event(body, LIMITS))
    faults_of(lambda: parse_batch(body, LIMITS))
    faults = faults_of(lambda: event_from_python("a", body, LIMITS))
    assert {fault.loc for fault in faults} <= {("data",)}


@given(NEARLY_JSON)
def test_data_may_be_broken_anywhere(inside: bytes) -> None:
    """Broken data in a good envelope is refused like any other input, or is what was published."""
    body = b'{"type":"a","data":{"k":%b}}' % inside
    if not faults_of(lambda: parse_event(body, LIMITS)):
        assert parse_event(body, LIMITS).data in body


@given(NEARLY_JSON, st.integers(0, 400))
def test_locating_never_fails(text: bytes, offset: int) -> None:
    """A place is found, or none, in whatever text."""
    assert isinstance(locate(text, min(offset, len(text))), tuple)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(VALUES, st.integers(0, 6), STYLES)
def test_depth_is_counted_exactly(value: object, limit: int, style: dict[str, Any]) -> None:
    """The check on the text agrees with a walk over the values, brackets inside strings and all."""
    assert too_deep(json.dumps(value, **style).encode(), value, limit) is (depth_of(value) > limit)


@given(DATA, st.data())
def test_a_fault_is_located_in_its_member(data: dict[str, Any], draw: st.DataObject) -> None:
    """NaN anywhere in the data is a fault of the data, in whichever event of a batch."""
    body = b'{"type":"a","data":{"x":%b,"y":[1,NaN]}}' % json.dumps(data).encode()
    index = draw.draw(st.integers(0, 3))
    good = b'{"type":"a","data":%b}' % json.dumps(data).encode()
    items = [good] * index + [body, good]
    faults = faults_of(lambda: parse_batch(b'{"events":[%b]}' % b",\n".join(items), LIMITS))
    assert [fault.loc for fault in faults] == [("events", index, "data")]
