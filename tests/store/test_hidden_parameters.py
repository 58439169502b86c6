"""What a statement carried is not told where it fails: events and secrets do not belong into logs."""

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


async def test_nor_does_one_about_a_row(store: Store) -> None:
    """A row that cannot be stored is not told either."""
    statement = text("INSERT INTO revisions (name, value) VALUES (:said, NULL)")
    with pytest.raises(Exception, match="value") as failed:
        await store.write(lambda one: one.execute(statement, {"said": "card 4711"}))
    assert "[parameters: " not in str(failed.value)
