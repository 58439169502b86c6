"""What expressions make of events, which are refused, and what is too much."""

import json
from typing import Any

import pytest

from tellwire.errors import InvalidInputError, LimitExceededError
from tellwire.model.limits import Limits
from tellwire.policy.transforming import TransformError, check_transform, compile_transform


def made(expression: str, data: bytes) -> bytes:
    """The result for an event with this data."""
    return compile_transform(expression).apply(
        "evt_1", "order.paid", "acme", "2026-01-31T09:30:00.123Z", data
    )


@pytest.mark.parametrize(
    ("expression", "data", "result"),
    [
        ("data.a", b'{"a": 1.10}', b"1.10"),
        ("data", b'{"n":12345678901234567890.123456789,"m":1E+2,"i":123456789012345678901234567890}',
         b'{"n":12345678901234567890.123456789,"m":1E+2,"i":123456789012345678901234567890}'),
        ("[id, type, tenant, timestamp]", b"{}",
         b'["evt_1","order.paid","acme","2026-01-31T09:30:00.123Z"]'),
        ("{o: data.id, n: length(data.items), s: sum(data.items[].p)}",
         b'{"id":"x","items":[{"p":1.5},{"p":2}]}', b'{"o":"x","n":2,"s":3.5}'),
        ("sort_by(data.i, &p)[*].p", b'{"i":[{"p":2.50},{"p":1}]}', b"[1,2.50]"),
        ("data.i[?p > `1.5`].p", b'{"i":[{"p":2.50},{"p":1}]}', b"[2.50]"),
        ("data.a == data.b", b'{"a":[1,{"x":"y"}],"b":[1,{"x":"y"}]}', b"true"),
        ("data.i[0:2]", b'{"i":[1,2,3]}', b"[1,2]"),
        ("data.i[]", b'{"i":[[1],[2,3],4]}', b"[1,2,3,4]"),
        ("type(data.n)", b'{"n":1.5}', b'"number"'),
        ("data.nothing", b"{}", b"null"),
    ],
)  # fmt: skip
def test_result(expression: str, data: bytes, result: bytes) -> None:
    """As JMESPath has it, and numbers as they were published."""
    assert made(expression, data) == result


@pytest.mark.parametrize(
    ("expression", "msg"),
    [
        ("", "must not be empty"),
        ("a b", "unexpected 'b' (character 3)"),
        ("data.[", "it ends too early"),
        ("data.x]", "unexpected ']' (character 7)"),
        ("'a", "Unclosed ' delimiter (character 1)"),
        ("now()", "calls 'now', which is none of abs, "),
        ("length()", "calls length with 0 arguments; it takes 1"),
        ("length(a, b)", "calls length with 2 arguments; it takes 1"),
        ("merge()", "calls merge with 0 arguments; it takes 1 or more"),
        ("a[::0]", "has a slice whose step is 0"),
        ("\ud800", "is no JMESPath expression"),
    ],
)
def test_what_does_not_compile_is_refused(expression: str, msg: str) -> None:
    """With the place of the error, and before any event comes."""
    with pytest.raises(InvalidInputError) as caught:
        check_transform(expression, Limits())
    assert msg in caught.value.errors[0].msg


@pytest.mark.parametrize(
    ("expression", "limit"),
    [
        ("a" * 4_097, "transform_chars"),
        (".".join("a" * 600), "transform_nodes"),
        ("|".join("a" * 60), "transform_depth"),
        ("(" * 2_000 + "a" + ")" * 2_000, "transform_depth"),
        ("!" * 4_000 + "a", "transform_depth"),
    ],
)
def test_expressions_are_bounded(expression: str, limit: str) -> None:
    """In length, parts and depth; which limit it was is said."""
    with pytest.raises(LimitExceededError) as caught:
        check_transform(expression, Limits())
    assert caught.value.limit == limit


LONG = {"i": list(range(60_000)), "s": "x" * 900_000, "t": ["x" * 100] * 9_000}


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("data.i" + "|[@,@][]" * 20, {"i": [1]}),
        ("data.i" + "|[@,@]" * 40, {"i": [1]}),
        ("[" + ",".join(["data.i"] * 100) + "][]", LONG),
        ("data.i[*].[@,@]", LONG),
        ("join(data.s, data.t)", LONG),
        ("[" + ",".join(["data.s"] * 100) + "]|sort(@)", LONG),
        ("to_string([" * 20 + "data" + "])" * 20, {"q": '"' * 9}),
        ("data" + "|[@,@]" * 20 + "|to_string(@)", {}),
        ("data" + "|[@,@]" * 22 + "|[0] == [[0],[1]]", {}),
        ("[" + "data.i," * 100 + "data.i][*][::-1]", LONG),
        ("[" + ",".join(["data.s"] * 100) + "]", LONG),
    ],
)
def test_work_is_bounded(expression: str, data: dict[str, Any]) -> None:
    """What would multiply the data again and again ends, before it has used up time or memory."""
    with pytest.raises(TransformError, match=r"steps|bytes"):
        made(expression, json.dumps(data).encode())


def test_a_result_has_the_size_of_a_payload_at_most() -> None:
    """1 MiB."""
    with pytest.raises(TransformError, match="at most 1048576 are sent"):
        made("[data.s, data.s]", json.dumps({"s": "x" * 900_000}).encode())


@pytest.mark.parametrize(
    ("expression", "data", "told"),
    [
        ("sum(data.a)", b'{"a":["secret"]}', "the function sum takes array of number, and got string"),
        ("length(data.a)", b'{"a":4711}', "the function length takes string or array or object, and got number"),
        ("&data", b"{}", "its result is an expression"),
        ("sort_by(data.a, &x)", b'{"a":[{"x":1},{"x":"secret"}]}', "the function sort_by takes number"),
        ("ceil(data.a)", b'{"a":1e999}', "a number is too large"),
        ("data", b'{"a":' + b"9" * 5_000 + b"}", "the data has a number that is too large"),
    ],
)  # fmt: skip
def test_failures_say_why_and_quote_nothing(expression: str, data: bytes, told: str) -> None:
    """For the text is kept with the attempt and shown."""
    with pytest.raises(TransformError) as caught:
        made(expression, data)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "4711" not in str(caught.value)
