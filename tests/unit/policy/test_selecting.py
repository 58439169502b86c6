"""Which fields of an event's data are kept."""

import pytest

from tellwire.errors import InvalidInputError, LimitExceededError
from tellwire.model.limits import Limits
from tellwire.policy.selecting import check_fields_of, compile_fields, select


@pytest.mark.parametrize(
    ("paths", "data", "kept"),
    [
        (["b", "a"], b'{"a": 1.10, "c": 2, "b": {"x": [1, 2]}}', b'{"a":1.10,"b":{"x": [1, 2]}}'),
        (["a.b"], b'{"a":{"b":1,"c":2}}', b'{"a":{"b":1}}'),
        (["a.b", "a"], b'{"a":{"b":1,"c":2}}', b'{"a":{"b":1,"c":2}}'),
        (["a", "a.b"], b'{"a":{"b":1,"c":2}}', b'{"a":{"b":1,"c":2}}'),
        (["a.b"], b'{"a":[{"b":1},{"c":1},[{"b":2,"c":3}],4,null]}', b'{"a":[{"b":1},{},[{"b":2}]]}'),
        (["a.b"], b'{"a":null}', b"{}"),
        (["a.b"], b'{"a":"b"}', b"{}"),
        (["x"], b"{}", b"{}"),
        (["\xe5"], b'{"\\u00e5":1}', '{"\xe5":1}'.encode()),
    ],
)
def test_what_is_kept(paths: list[str], data: bytes, kept: bytes) -> None:
    """Bytes and order of the data; arrays are gone through; what is not there is passed over."""
    assert select(compile_fields(paths), data) == kept


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a" * 257, ".".join("a" * 17), "\ud800"])
def test_what_is_no_path_is_refused(path: str) -> None:
    """Where it stands in the list."""
    with pytest.raises(InvalidInputError) as caught:
        check_fields_of(["fine", path], Limits())
    assert [fault.loc for fault in caught.value.errors] == [(1,)]


def test_lists_of_paths_are_bounded() -> None:
    """None at all would send nothing, too many are over a limit."""
    with pytest.raises(InvalidInputError):
        check_fields_of([], Limits())
    with pytest.raises(LimitExceededError) as caught:
        check_fields_of(["a"] * 3, Limits(fields_per_subscription=2))
    assert (caught.value.limit, caught.value.maximum) == ("fields_per_subscription", 2)
