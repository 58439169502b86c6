"""Bodies in every envelope, for whatever is published."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jmespath.functions import Functions

from tellwire.deliver.shaping import shaped
from tellwire.errors import InvalidInputError
from tellwire.model import event as events
from tellwire.model.claim import Claim
from tellwire.model.limits import Limits
from tellwire.model.subscription import Envelope, Subscription
from tellwire.policy.selecting import compile_fields, select
from tellwire.policy.shaping import compile_shapes
from tellwire.policy.transforming import TransformError, check_transform, compile_transform

_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    data=st.dictionaries(st.text(), _VALUES, max_size=5),
    spaced=st.booleans(),
    ascii=st.booleans(),
    envelope=st.sampled_from(Envelope),
)
def test_the_bytes_of_the_data_stand_in_every_envelope(
    data: dict[str, Any], spaced: bool, ascii: bool, envelope: Envelope
) -> None:
    """Nothing is written anew: not the spaces, not the escapes, not the digits; and the whole is JSON."""
    separators = (" , ", " : ") if spaced else (",", ":")
    text = json.dumps(data, separators=separators, ensure_ascii=ascii).encode("utf-8", "replace")
    body = events.envelope("order.paid", "2026-01-31T09:30:00.123Z", text)
    shapes = compile_shapes([Subscription(("*",), None, envelope), Subscription(("*",), None, Envelope.RAW)])
    assert shapes is not None
    made = shaped(Claim(b"d", b"e", b"p", "evt_1", "order.paid", body, 1, 0), "acme", shapes)
    alone = envelope in (Envelope.RAW, Envelope.CLOUDEVENTS_BINARY)
    assert made.body == text if alone else made.body.endswith(b'"data":' + text + b"}")
    json.loads(made.body)
    assert all(value.isascii() and value.isprintable() for value in made.headers.values())


_DATA = st.dictionaries(st.text(), _VALUES, max_size=5)
_NAMES = st.sampled_from(["a", "b", "c", "a.b", "b.a", "a.a.b", "c.b.a", "\xe5"])
_NAMED: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(list("abc\xe5")), inner, max_size=4)
    ),
    max_leaves=15,
)


def _slowly(paths: list[list[str]], value: Any) -> Any:
    """What fields keep, by the words of the documentation; None where nothing can be kept."""
    if isinstance(value, list):
        return [kept for kept in (_slowly(paths, one) for one in value) if kept is not None]
    if not isinstance(value, dict):
        return None
    found = {}
    for name, inner in value.items():
        below = [path[1:] for path in paths if path[0] == name]
        kept = inner if [] in below else _slowly(below, inner) if below else None
        if kept is not None or [] in below:
            found[name] = kept
    return found


@given(
    data=st.dictionaries(st.sampled_from(list("abc\xe5")), _NAMED, max_size=4),
    paths=st.lists(_NAMES, min_size=1, max_size=4),
)
def test_fields_keep_what_the_documentation_says(data: dict[str, Any], paths: list[str]) -> None:
    """The same as a slow reference, for whatever data."""
    kept = select(compile_fields(paths), json.dumps(data, ensure_ascii=False).encode())
    assert json.loads(kept) == _slowly([path.split(".") for path in paths], data)


@given(data=_DATA, paths=st.lists(st.text(min_size=1).filter(lambda text: all(text.split("."))), max_size=3))
def test_fields_never_fail(data: dict[str, Any], paths: list[str]) -> None:
    """Whatever is published and whatever is asked for, there is a JSON object."""
    text = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
    assert isinstance(json.loads(select(compile_fields(paths), text)), dict)


_ATOMS = st.sampled_from(
    ["data", "@", "data.a", "data.*", "data.a[*]", "[]", "[0]", "[::-1]", "`[1, 2.5]`", "'x'", "id", "a", "*"]
)
_FUNCTIONS = sorted(Functions.FUNCTION_TABLE)
_EXPRESSIONS: st.SearchStrategy[str] = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.builds("{} | {}".format, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{x: {}, y: {}}}".format, inner, inner),
        st.builds("{} {} {}".format, inner, st.sampled_from(["==", "<", ">=", "&&", "||"]), inner),
        st.builds("!({})".format, inner),
        st.builds("({})[?{}]".format, inner, inner),
        st.builds("{}({})".format, st.sampled_from(_FUNCTIONS), inner),
        st.builds("{}({}, {})".format, st.sampled_from(_FUNCTIONS), inner, inner),
        st.builds("{}({}, &{})".format, st.sampled_from(["sort_by", "max_by", "min_by"]), inner, inner),
        st.builds("map(&{}, {})".format, inner, inner),
    ),
    max_leaves=8,
)


@given(data=_DATA, expression=_EXPRESSIONS | st.text())
def test_a_transform_gives_json_or_says_why_not(data: dict[str, Any], expression: str) -> None:
    """Whatever is written and whatever is published: it is refused, it fails in its own way, or the result is JSON."""
    text = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
    try:
        check_transform(expression, Limits())
    except InvalidInputError:
        return
    try:
        made = compile_transform(expression).apply("evt_1", "a.b", "acme", "2026-01-31T09:30:00.123Z", text)
    except TransformError:
        return
    json.loads(made)
