"""What was published becomes a checked event or an error that names every fault."""

import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import jiter
import msgspec
import pytest
from pydantic import BaseModel, Field

from tellwire.errors import InvalidInputError, LimitExceededError
from tellwire.model.event import NewEvent
from tellwire.model.limits import Limits
from tellwire.publish.validation import event_from_python, parse_batch, parse_event

LIMITS = Limits()
Loc = tuple[str | int, ...]


def refused(call: Callable[[], object]) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        call()
    return caught.value


def locs(error: InvalidInputError) -> list[Loc]:
    return [fault.loc for fault in error.errors]


def event(data: bytes = b"{}", more: bytes = b"") -> bytes:
    return b'{"type":"order.paid","data":' + data + more + b"}"


def python(
    data: object,
    *,
    type: str = "order.paid",
    tenant: str | None = None,
    key: str | None = None,
    occurred_at: datetime | None = None,
    deliver_at: datetime | None = None,
    expires_at: datetime | None = None,
    limits: Limits = LIMITS,
) -> NewEvent:
    return event_from_python(
        type,
        data,
        limits,
        tenant=tenant,
        idempotency_key=key,
        occurred_at=occurred_at,
        deliver_at=deliver_at,
        expires_at=expires_at,
    )


class TestParseEvent:
    """``POST /v1/events``."""

    def test_all_fields(self) -> None:
        """Every field arrives, in whatever order it was written."""
        body = (
            b'{"occurred_at":"1970-01-01T01:00:00.001999+01:00","idempotency_key":"k 1",'
            b'"tenant":"acme","data":{"a":1},"type":"order.paid"}'
        )
        assert parse_event(body, LIMITS) == NewEvent("order.paid", b'{"a":1}', "acme", "k 1", 1)

    def test_optional_fields_may_be_absent_or_null(self) -> None:
        """Null in an optional field is the same as leaving it out."""
        nulls = b',"tenant":null,"idempotency_key":null,"occurred_at":null'
        expected = NewEvent("order.paid", b"{}", "default", None, None)
        assert parse_event(event(), LIMITS) == expected
        assert parse_event(event(more=nulls), LIMITS) == expected

    @pytest.mark.parametrize(
        "data",
        [
            b'{"n":123456789012345678901234567890}',
            b'{"n":0.1000000000000000000000000001,"e":1E+2,"z":-0.0,"huge":1e999}',
            b'{ "b" : 1,\n\t"a" : [ ] }',
            b'{"u":"\\u00e9\xc3\xa9\\ud83d\\ude00\\/"}',
            b'{"data":{"type":"x"},"":null}',
            b'{"deep":' + b"[" * 63 + b"]" * 63 + b"}",
            b'{"text":"' + b"[{" * 500 + b'\\""}',
        ],
    )
    def test_data_keeps_its_bytes(self, data: bytes) -> None:
        """Large numbers, spaces, escapes and key order are what was published."""
        assert parse_event(event(data), LIMITS).data == data

    def test_an_escaped_field_name_is_that_field(self) -> None:
        """JSON lets any character of a key be escaped."""
        assert parse_event(b'{"type":"a","d\\u0061ta": {"x":1} }', LIMITS).data == b'{"x":1}'

    @pytest.mark.parametrize(
        "body", [b"", b"nope", b"{", event() + b"x", b"\xef\xbb\xbf" + event(), b"\0", event(b"{'a':1}")]
    )
    def test_what_is_no_json_is_told_so(self, body: bytes) -> None:
        """A syntax fault is one of the body as a whole, with line and column from the parser."""
        error = refused(lambda: parse_event(body, LIMITS))
        assert locs(error) == [()]
        assert error.errors[0].msg.startswith("not JSON: ")

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"[]", "an array"),
            (b"null", "null"),
            (b'"x"', "a string"),
            (b"1.5", "a number"),
            (b"true", "a boolean"),
        ],
    )
    def test_the_body_is_an_object(self, body: bytes, words: str) -> None:
        """Other JSON values are named for what they are."""
        error = refused(lambda: parse_event(body, LIMITS))
        assert locs(error) == [()]
        assert words in error.errors[0].msg

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b'{"a":1,"a":2}', "'a' appears twice"),
            (b'{"a":[{"b":1,"\\u0062":2}]}', "'b' appears twice"),
            (b'{"a":NaN}', "NaN"),
            (b'{"a":[-Infinity]}', "Infinity"),
            (b'{"a":"\\ud800"}', "surrogate"),
            (b'{"a":"[{\\ud800x"}', "surrogate"),
            (b'{"a":"\\udc00"}', "surrogate"),
            (b'{"a":"\xff"}', "UTF-8"),
            (b'{"a":"\xed\xa0\x80"}', "UTF-8"),
            (b'{"a":' + b"9" * 5_000 + b"}", "4,300 digits"),
            (b"[]", "an array"),
            (b"null", "null"),
            (b'"text"', "a string"),
        ],
    )
    def test_data_that_receivers_would_read_differently(self, data: bytes, words: str) -> None:
        """What parsers disagree on is refused as a fault of ``data``."""
        error = refused(lambda: parse_event(event(data), LIMITS))
        assert locs(error) == [("data",)]
        assert words in error.errors[0].msg

    def test_a_duplicate_field_of_the_envelope(self) -> None:
        """A field given twice is located at that field."""
        error = refused(lambda: parse_event(b'{"data":{},"type":"a","type":"b"}', LIMITS))
        assert locs(error) == [("type",)]

    @pytest.mark.parametrize("levels", [65, 150, 5_000])
    def test_deep_nesting(self, levels: int) -> None:
        """More than 64 levels are over a limit, whether the parser stops at them or we do."""
        deep = b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
        error = refused(lambda: parse_event(event(deep), LIMITS))
        assert isinstance(error, LimitExceededError)
        assert (error.limit, error.maximum, locs(error)) == ("json_depth", 64, [("data",)])

    @pytest.mark.parametrize("extra", [1, 100_000])
    def test_large_data(self, extra: int) -> None:
        """Data is as large as the limit or refused by name, however far it is over."""
        limits = Limits(payload_bytes=1_000)
        fits = b'{"a":"' + b"x" * 992 + b'"}'
        assert parse_event(event(fits), limits).data == fits
        error = refused(lambda: parse_event(event(b'{"a":"' + b"x" * (992 + extra) + b'"}'), limits))
        assert isinstance(error, LimitExceededError)
        assert (error.limit, error.maximum, locs(error)) == ("payload_bytes", 1_000, [("data",)])

    @pytest.mark.parametrize(
        ("more", "loc"),
        [
            (b',"tenant":""', "tenant"),
            (b',"tenant":"a b"', "tenant"),
            (b',"tenant":7', "tenant"),
            (b',"idempotency_key":""', "idempotency_key"),
            (b',"idempotency_key":"a\\nb"', "idempotency_key"),
            (b',"idempotency_key":["k"]', "idempotency_key"),
            (b',"ordering_key":""', "ordering_key"),
            (b',"ordering_key":"a\\u0000b"', "ordering_key"),
            (b',"ordering_key":"\\ud800"', "ordering_key"),
            (b',"ordering_key":7', "ordering_key"),
            (b',"occurred_at":1700000000', "occurred_at"),
            (b',"occurred_at":""', "occurred_at"),
            (b',"occured_at":"2026-01-01T00:00:00Z"', "occured_at"),
            (b',"id":"evt_1"', "id"),
        ],
    )
    def test_faults_are_located(self, more: bytes, loc: str) -> None:
        """Each bad, unknown or wrongly typed field is named."""
        assert locs(refused(lambda: parse_event(event(more=more), LIMITS))) == [(loc,)]

    @pytest.mark.parametrize(
        "type", [b'""', b'"a b"', b'"a..b"', b'"a."', b'"*"', b'"a\\n"', b"1", b"null", b"{}"]
    )
    def test_bad_types(self, type: bytes) -> None:
        """A type is a dot-separated name and nothing else."""
        assert locs(refused(lambda: parse_event(b'{"data":{},"type":' + type + b"}", LIMITS))) == [("type",)]

    def test_all_faults_are_told_at_once(self) -> None:
        """Missing, unknown and bad fields are all in one error, which then is about no single limit."""
        body = b'{"type":"a b","idempotency_key":"' + b"k" * 129 + b'","x":1,"y":2}'
        error = refused(lambda: parse_event(body, LIMITS))
        assert locs(error) == [("x",), ("y",), ("type",), ("data",), ("idempotency_key",)]
        assert not isinstance(error, LimitExceededError)

    def test_a_long_idempotency_key(self) -> None:
        """128 characters are welcome, 129 are over the limit."""
        good, bad = b"\xc3\xa9" * 128, b"k" * 129
        assert (
            parse_event(event(more=b',"idempotency_key":"' + good + b'"'), LIMITS).idempotency_key
            == "é" * 128
        )
        error = refused(lambda: parse_event(event(more=b',"idempotency_key":"' + bad + b'"'), LIMITS))
        assert isinstance(error, LimitExceededError)
        assert error.limit == "idempotency_key_chars"

    def test_an_ordering_key(self) -> None:
        """It is kept as it is, up to 128 characters; null is none."""
        good, bad = b"\xc3\xa9" * 128, b"k" * 129
        assert parse_event(event(more=b',"ordering_key":"' + good + b'"'), LIMITS).ordering_key == "é" * 128
        assert parse_event(event(more=b',"ordering_key":null'), LIMITS).ordering_key is None
        error = refused(lambda: parse_event(event(more=b',"ordering_key":"' + bad + b'"'), LIMITS))
        assert isinstance(error, LimitExceededError)
        assert error.limit == "ordering_key_chars"

    def test_a_flood_of_unknown_fields_gets_a_short_answer(self) -> None:
        """Thousands of long unknown names neither fill the error nor come back whole."""
        more = b"".join(b',"%d%s":1' % (number, b"x" * 100) for number in range(1_000))
        error = refused(lambda: parse_event(event(more=more), Limits()))
        assert len(error.errors) == 11
        assert len(str(error)) < 3_000


class TestOccurredAt:
    """RFC 3339 with a zone."""

    @pytest.mark.parametrize(
        ("text", "ms"),
        [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00z", 0),
            ("2026-01-31T09:30:00.5Z", 1_769_851_800_500),
            ("2026-01-31T09:30:00.123456789Z", 1_769_851_800_123),
            ("2026-01-31T15:00:00.123+05:30", 1_769_851_800_123),
            ("2026-01-31T00:30:00-09:00", 1_769_851_800_000),
            ("2026-01-31T09:30:00-00:00", 1_769_851_800_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("9999-12-31T23:59:59.999+01:00", 253_402_297_199_999),
            ("1969-12-31T23:00:00-01:00", 0),
        ],
    )
    def test_is_read_to_the_millisecond(self, text: str, ms: int) -> None:
        """Any offset is reckoned in, finer digits are cut off."""
        assert parse_event(event(more=f',"occurred_at":"{text}"'.encode()), LIMITS).occurred_ms == ms

    @pytest.mark.parametrize(
        "text",
        [
            "2026-01-31",
            "2026-01-31T09:30:00",
            "2026-01-31 09:30:00Z",
            "2026-01-31T09:30Z",
            "2026-01-31T09:30:00.Z",
            "2026-01-31T09:30:00.1234567890Z",
            "2026-01-31T09:30:00+0100",
            "2026-01-31T09:30:00+24:00",
            "2026-02-30T09:30:00Z",
            "2026-01-31T24:00:00Z",
            "2016-12-31T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999Z",
            "9999-12-31T23:59:59-01:00",
            "٢٠٢٦-01-31T09:30:00Z",
            "2026-01-31T09:30:00Z ",
        ],
    )
    def test_is_refused_otherwise(self, text: str) -> None:
        """No zone, no such day, a leap second, outside 1970 to 9999, or another form."""
        body = event(more=f',"occurred_at":"{text}"'.encode())
        assert locs(refused(lambda: parse_event(body, LIMITS))) == [("occurred_at",)]


class TestParseBatch:
    """``POST /v1/events/batch``."""

    def test_events_keep_their_order_and_bytes(self) -> None:
        """What comes out is what went in, one by one."""
        body = b'{"events":[' + event(b'{"n":1.0}') + b" , " + event(b'{ "n":2 }', b',"tenant":"t"') + b"]}"
        first, second = parse_batch(body, LIMITS)
        assert first == NewEvent("order.paid", b'{"n":1.0}')
        assert second == NewEvent("order.paid", b'{ "n":2 }', "t")

    def test_every_fault_of_every_event_is_named(self) -> None:
        """Good events do not hide bad ones, and one fault does not hide the next."""
        items = [event(), b"3", b"{}", event(b"[]", b',"tenant":"","extra":1'), event()]
        error = refused(lambda: parse_batch(b'{"events":[' + b",".join(items) + b"]}", LIMITS))
        assert locs(error) == [
            ("events", 1),
            ("events", 2, "type"),
            ("events", 2, "data"),
            ("events", 3, "extra"),
            ("events", 3, "data"),
            ("events", 3, "tenant"),
        ]

    @pytest.mark.parametrize(
        ("body", "loc"),
        [
            (b"[]", ()),
            (b"{}", ("events",)),
            (b'{"events":{}}', ("events",)),
            (b'{"events":null}', ("events",)),
            (b'{"events":[]}', ("events",)),
            (b'{"events":[{"type":"a","data":{}}],"x":1}', ("x",)),
            (
                b'{"events":[' + event() + b"," + event(b'{"a":[",",{"b":NaN}]}') + b"]}",
                ("events", 1, "data"),
            ),
            (b'{"events":[' + event() + b"," + event(b'{"a":{},"a":1}') + b"]}", ("events", 1, "data")),
            (b'{"events":[' + event() + b',{"type":"\xff"}]}', ("events", 1, "type")),
            (b'{"events":[', ()),
        ],
    )
    def test_one_fault_one_place(self, body: bytes, loc: Loc) -> None:
        """Faults of the frame, and of the JSON inside one event, are located as exactly as they can be."""
        assert locs(refused(lambda: parse_batch(body, LIMITS))) == [loc]

    def test_limits(self) -> None:
        """Too many events, too many bytes and too large data are each a limit of their own."""
        two = b'{"events":[' + event() + b"," + event(b'{"a":"xxxxxxxx"}') + b"]}"
        for limits, name, loc in [
            (Limits(batch_events=1), "batch_events", ("events",)),
            (Limits(batch_bytes=len(two) - 1), "batch_bytes", ()),
            (Limits(payload_bytes=8), "payload_bytes", ("events", 1, "data")),
        ]:
            error = refused(lambda limits=limits: parse_batch(two, limits))  # type: ignore[misc]
            assert isinstance(error, LimitExceededError)
            assert (error.limit, locs(error)) == (name, [loc])
        assert len(parse_batch(two, Limits(batch_events=2, batch_bytes=len(two)))) == 2

    def test_hostile_keys_do_not_grow_memory_without_bound(self) -> None:
        """The parser's cache of keys is process-wide and has a fixed number of places."""
        for round_number in range(20):
            members = b",".join(b'"key_%d_%d":1' % (round_number, number) for number in range(5_000))
            parse_event(event(b"{" + members + b"}"), LIMITS)
        assert jiter.cache_usage() <= 16_384


class Colour(enum.StrEnum):
    """A key and a value of its own type."""

    RED = "red"


@dataclass
class Point:
    """A dataclass of a user."""

    x: int


class Order(BaseModel):
    """A pydantic model of a user."""

    order_id: str = Field(alias="orderId")
    total: Decimal


class TestEventFromPython:
    """``publish()`` in Python."""

    def test_values_become_json(self) -> None:
        """Integers of any size, decimals, dates, enums, dataclasses and models keep what they mean."""
        data = {
            "big": 2**200,
            "float": 0.1,
            "decimal": Decimal("1.10"),
            "at": datetime(2026, 1, 31, 9, 30, 0, 5, tzinfo=UTC),
            "there": datetime(2026, 1, 31, 9, 30, tzinfo=timezone(timedelta(hours=2))),
            "day": date(2026, 1, 31),
            "id": uuid.UUID(int=0),
            Colour.RED: Colour.RED,
            "point": Point(1),
            "order": Order(orderId="o", total=Decimal("2.50")),
            "tuple": (1, None, True),
            "text": 'é"\u2028😀',
        }
        text = (
            '{"big":' + str(2**200) + ',"float":0.1,"decimal":"1.10","at":"2026-01-31T09:30:00.000005Z",'
            '"there":"2026-01-31T09:30:00+02:00","day":"2026-01-31","id":"00000000-0000-0000-0000-000000000000",'
            '"red":"red","point":{"x":1},"order":{"orderId":"o","total":"2.50"},"tuple":[1,null,true],'
            '"text":"é\\"\u2028😀"}'
        )
        assert python(data).data.decode() == text

    def test_models_write_themselves(self) -> None:
        """A pydantic model, a dataclass or a struct may be the data itself."""
        assert python(Order(orderId="o", total=Decimal("2.50"))).data == b'{"orderId":"o","total":"2.50"}'
        assert python(Point(2)).data == b'{"x":2}'

    @pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, msgspec.Raw])
    def test_ready_json_keeps_its_bytes(self, wrap: Callable[[bytes], object]) -> None:
        """Bytes are JSON text that is ready; only the space around it goes."""
        assert python(wrap(b' {"a": 1.00}\n')).data == b'{"a": 1.00}'

    @pytest.mark.parametrize(
        "data",
        [
            {"a": float("nan")},
            {"a": [float("inf")]},
            {"a": Decimal("NaN")},
            {"a": "\ud800"},
            {"\ud800": 1},
            {1: "a"},
            {"a": [{None: 1}]},
            {"a": {(1, 2): 3}},
            {"a": datetime(2026, 1, 1)},
            {"a": b"bytes"},
            {"a": object()},
            {"a": 10**5_000},
            [1],
            "text",
            None,
            7,
            object(),
            b'{"a":1,"a":2}',
            b'{"a":NaN}',
            b'{"a":',
            b"[]",
            b"",
        ],
    )
    def test_what_json_cannot_say_is_refused(self, data: object) -> None:
        """What would arrive as something else is a fault of ``data``."""
        assert locs(refused(lambda: python(data))) == [("data",)]

    def test_endless_and_deep_data(self) -> None:
        """Data that contains itself, or nests too deeply, is refused and does not break the interpreter."""
        endless: dict[str, object] = {}
        endless["self"] = endless
        deep: dict[str, object] = {}
        for _ in range(64):
            deep = {"a": deep}
        for data in (endless, deep):
            assert locs(refused(lambda data=data: python(data))) == [("data",)]  # type: ignore[misc]

    def test_arguments_are_checked_like_fields(self) -> None:
        """All arguments at fault are named together."""
        error = refused(lambda: python([], type="a b", tenant="", key="", occurred_at=datetime(2026, 1, 1)))
        assert locs(error) == [("type",), ("data",), ("tenant",), ("idempotency_key",), ("occurred_at",)]
        good = python({}, tenant="t", key="k", occurred_at=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
        assert good == NewEvent("order.paid", b"{}", "t", "k", 1_000)

    def test_large_data(self) -> None:
        """Data over the limit is refused by the limit's name, whether as values or as text."""
        for data in ({"a": "x" * 100}, b'{"a":"' + b"x" * 100 + b'"}'):
            error = refused(lambda data=data: python(data, limits=Limits(payload_bytes=100)))  # type: ignore[misc]
            assert isinstance(error, LimitExceededError)
            assert (error.limit, locs(error)) == ("payload_bytes", [("data",)])


@pytest.mark.parametrize(("later_ms", "fits"), [(-1, False), (0, False), (1, True)])
def test_what_expires_before_it_is_delivered_is_refused(later_ms: int, fits: bool) -> None:
    """It has to be worth something for a millisecond at least."""
    at = datetime(2026, 1, 31, tzinfo=UTC)
    end = at + timedelta(milliseconds=later_ms)
    if fits:
        assert python({}, deliver_at=at, expires_at=end).expires_ms is not None
        return
    with pytest.raises(InvalidInputError) as refused:
        python({}, deliver_at=at, expires_at=end)
    assert [fault.loc for fault in refused.value.errors] == [("expires_at",)]
