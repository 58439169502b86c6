"""What runs on the caller's connection, without a connection: the generators and what they are sent."""

import sqlite3

import pytest

from tellwire.store.postgres_hot import DELIVERY_COLUMNS, EVENT_COLUMNS, PAGE_COLUMNS
from tellwire.store.rows import DeliveryRow, EventRow, PageRow
from tellwire.store.within import Sql, Steps, code_of, savepoint


def one_statement() -> Steps[str]:
    rows: str = yield Sql("INSERT")
    return rows


def test_a_savepoint_is_released() -> None:
    """What went well stays, and its result comes out."""
    steps = savepoint(one_statement())
    assert next(steps) == Sql("SAVEPOINT tellwire")
    assert steps.send([]) == Sql("INSERT")
    assert steps.send("rows") == Sql("RELEASE SAVEPOINT tellwire")
    with pytest.raises(StopIteration) as end:
        steps.send([])
    assert end.value.value == "rows"


@pytest.mark.parametrize("lost", [False, True])
def test_what_fails_is_undone_and_its_error_goes_on(lost: bool) -> None:
    """The savepoint is rolled back and forgotten; where even that fails, the first error is what is raised."""
    steps = savepoint(one_statement())
    next(steps)
    steps.send([])
    undo = steps.throw(KeyError("first"))
    assert undo == Sql("ROLLBACK TO SAVEPOINT tellwire")
    if not lost:
        assert steps.send([]) == Sql("RELEASE SAVEPOINT tellwire")
    with pytest.raises(KeyError, match="first"):
        steps.throw(OSError("the connection is lost")) if lost else steps.send([])


def test_nothing_runs_when_nobody_is_there_any_more() -> None:
    """A publish that is thrown away in the middle ends without a word."""
    steps = savepoint(one_statement())
    next(steps)
    steps.send([])
    steps.close()


def test_the_code_of_an_error_is_found_below_what_wraps_it() -> None:
    """SQLAlchemy and Django raise their own errors from the driver's."""
    with pytest.raises(sqlite3.OperationalError) as found:
        sqlite3.connect(":memory:").execute("no SQL")
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = found.value
    assert code_of(wrapped) == sqlite3.SQLITE_ERROR
    assert code_of(ValueError()) is None


def test_columns_are_the_fields_of_the_rows() -> None:
    """Rows are turned into one array a column, so names and fields must stand in the same order."""
    assert tuple(EVENT_COLUMNS) == EventRow._fields
    assert tuple(DELIVERY_COLUMNS) == DeliveryRow._fields
    assert tuple(PAGE_COLUMNS) == PageRow._fields
