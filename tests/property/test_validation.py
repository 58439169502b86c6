"""Whatever is published arrives byte for byte, or is refused in the one way that callers expect."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tellwire.errors import FieldError, InvalidInputError
from tellwire.model.limits import Limits
from tellwire.publish.strict_json import check, locate, parse, too_deep, with_decimals
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


HOSTILE = st.sampled_from(
    ["},{", "}, {", "],[", '","data":{', ',"data":{', "data", "\\", '"', "{", "}}", "[" * 9]
)
NESTS = st.recursive(
    HOSTILE | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=30,
)


@given(NESTS, st.integers(0, 9), STYLES)
def test_depth_is_counted_exactly_among_neighbours(value: object, limit: int, style: dict[str, Any]) -> None:
    """Rows of objects and arrays go no deeper, whatever strings look like such a row."""
    assert too_deep(json.dumps(value, **style).encode(), value, limit) is (depth_of(value) > limit)


@given(st.lists(st.sampled_from(list('[]{},": ')) | HOSTILE, max_size=40).map("".join), st.integers(0, 3))
def test_whatever_text_is_json_nests_as_its_values_do(text: str, limit: int) -> None:
    """The same for text that no program would write."""
    try:
        value = json.loads(text)
    except ValueError:
        return
    assert too_deep(text.encode(), value, limit) is (depth_of(value) > limit)


@given(
    NESTS,
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(PIECES)), max_size=2),
    st.one_of(STYLES, st.just({"ensure_ascii": False, "separators": (",", ":")})),
)
def test_both_readings_refuse_the_same(
    value: object, changes: list[tuple[int, bytes]], style: dict[str, Any]
) -> None:
    """What is published is read without exact fractions, and refused for the same faults all the same."""
    text = json.dumps([value, value], **style).encode()
    for at, piece in changes:
        text = text[:at] + piece + text[at:]
    exact: list[object] = []
    quick: list[object] = []
    faults = faults_of(lambda: exact.append(parse(text, LIMITS, loc_depth=3)))
    assert faults_of(lambda: quick.append(check(text, LIMITS, loc_depth=3))) == faults
    if not faults:
        assert json.loads(json.dumps(quick[0])) == json.loads(
            json.dumps(with_decimals(exact[0]), default=float)
        )


KEYS = st.sampled_from(["data", ",data:{", "}}", ',"data":{', '{"data":{', "\\", '\\"data":{', "{", "}"])
OTHER_FIELDS = st.fixed_dictionaries(
    {"type": st.just("a.b")},
    optional={"idempotency_key": KEYS, "ordering_key": KEYS, "tenant": st.just("data")},
)


@given(
    st.text("ab", min_size=1, max_size=3), st.lists(st.sampled_from("abc"), min_size=1, max_size=6), SCALARS
)
def test_both_readings_find_the_same_duplicate(inner: str, keys: list[str], value: object) -> None:
    """A key that appears twice is refused in compact text too, however deep it stands."""
    scalar = json.dumps(value).encode()
    members = b",".join(b'"%b":%b' % (key.encode(), scalar) for key in keys)
    text = b'{"%b":[{%b}]}' % (inner.encode(), members)
    faults = faults_of(lambda: check(text, LIMITS, loc_depth=3))
    assert faults == faults_of(lambda: parse(text, LIMITS, loc_depth=3))
    assert bool(faults) is (len(set(keys)) < len(keys))


@given(st.sampled_from([b"[", b'{"k":']), st.integers(170, 210))
def test_both_readings_refuse_the_same_depth(opening: bytes, depth: int) -> None:
    """What nests too deep for one is too deep for the other."""
    text = opening * depth + b"1" + (b"]" if opening == b"[" else b"}") * depth
    faults = faults_of(lambda: parse(text, LIMITS, loc_depth=1))
    assert faults_of(lambda: check(text, LIMITS, loc_depth=1)) == faults


COMPACT: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}


@given(st.dictionaries(HOSTILE, NESTS, max_size=3), OTHER_FIELDS, st.data())
def test_data_is_cut_out_where_it_stands(
    data: dict[str, Any], others: dict[str, str], draw: st.DataObject
) -> None:
    """Whichever fields stand around data, and whatever in them looks like it: its text is the member's own."""
    style: dict[str, Any] = draw.draw(st.one_of(STYLES, st.just(COMPACT)))
    text = json.dumps(data, **style).encode()
    members = [
        b"%b:%b" % (json.dumps(name).encode(), json.dumps(value).encode()) for name, value in others.items()
    ]
    name = draw.draw(st.sampled_from([b'"data":', b'"data":', b'"d\\u0061ta":', b'"data" : ']))
    members = [*draw.draw(st.permutations(members)), name + text]
    if draw.draw(st.booleans()):
        members = draw.draw(st.permutations(members))
    spaces = st.sampled_from([b"", b"", b" ", b"\n"])
    before, between, inside, after = (draw.draw(spaces) for _ in range(4))
    body = before + b"{" + (b"," + between).join(members) + inside + b"}" + after
    assert parse_event(body, LIMITS).data == text


@given(DATA, st.data())
def test_a_fault_is_located_in_its_member(data: dict[str, Any], draw: st.DataObject) -> None:
    """NaN anywhere in the data is a fault of the data, in whichever event of a batch."""
    body = b'{"type":"a","data":{"x":%b,"y":[1,NaN]}}' % json.dumps(data).encode()
    index = draw.draw(st.integers(0, 3))
    good = b'{"type":"a","data":%b}' % json.dumps(data).encode()
    items = [good] * index + [body, good]
    faults = faults_of(lambda: parse_batch(b'{"events":[%b]}' % b",\n".join(items), LIMITS))
    assert [fault.loc for fault in faults] == [("events", index, "data")]
