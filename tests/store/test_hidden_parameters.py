"""What a statement carried is not told where it fails: events and secrets do not belong into logs."""

import traceback

import pytest
from sqlalchemy import text

from tellwire.store.store import Store


@pytest.mark.parametrize("how", ["read", "write"])
async def test_an_error_does_not_tell_what_a_statement_carried(store: Store, how: str) -> None:
    """Whatever is wrong with the statement itself is in the error; its values are not."""
    statement = text("SELECT nothing_of_the_kind WHERE :said = 'a'")
    with pytest.raises(Exception, match="nothing_of_the_kind") as failed:
        await getattr(store, how)(lambda one: one.execute(statement, {"said": "card 4711"}))
    assert "4711" not in str(failed.value)
    assert "4711" not in repr(failed.value)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO facts (name, value) VALUES (:said, NULL)",
        "INSERT INTO facts (name, value) VALUES (:said, 'a'), (:said, 'b')",
    ],
)
async def test_nor_does_one_about_a_row(store: Store, statement: str) -> None:
    """A row that cannot be stored is not told either, nor the key that there is already: PostgreSQL's DETAIL."""
    said = f"card {4700 + 11}\nof {'lovelace'.title()}"  # a traceback quotes this line, too
    with pytest.raises(Exception, match="facts") as failed:
        await store.write(lambda one: one.execute(text(statement), {"said": said}))
    told = "".join(traceback.format_exception(failed.value))
    assert "IntegrityError" in told
    assert "[parameters: " not in told
    assert "4711" not in told
    assert "Lovelace" not in told
