"""What PostgreSQL's errors are to whoever publishes."""

import asyncpg
import pytest

from tellwire.errors import InvalidInputError, StoreUnavailableError
from tellwire.store.group_commit import BlockedError
from tellwire.store.postgres_faults import collided, lost, translated


def said(code: str, severity: str = "ERROR") -> asyncpg.PostgresError:
    """The server's error of a code."""
    return asyncpg.PostgresError.new({"C": code, "S": severity, "V": severity, "M": "as it says"})


def translation(error: BaseException) -> BaseException:
    """What comes of an error."""
    with pytest.raises(BaseException) as caught, translated("shop on db"):  # noqa: PT011 - of any kind
        raise error
    return caught.value


@pytest.mark.parametrize(
    "code",
    [
        "08006", "28P01", "3D000", "53100", "53200", "53300", "57014", "57P01", "57P02", "57P03", "58030", "25006",
        "XX001",
    ],
)  # fmt: skip
def test_a_server_that_cannot_do_its_work_is_unavailable(code: str) -> None:
    """It is starting, stopping, full, away, a replica, or was told to stop the statement: try again later."""
    found = translation(said(code))
    assert type(found) is StoreUnavailableError
    assert not found.outcome_unknown
    assert "shop on db" in str(found)


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError(111, "refused")])
def test_a_server_that_cannot_be_reached_is_unavailable(error: OSError) -> None:
    """Whatever way it was lost; of the connection nothing more is expected."""
    assert type(translation(error)) is StoreUnavailableError
    assert lost(error)


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_who_collided_tries_again(code: str) -> None:
    """Serialization failures and deadlocks are no fault of the change; after some tries they are told as such."""
    assert collided(said(code))
    assert type(translation(said(code))) is BlockedError
    assert not lost(said(code))


def test_a_lock_that_somebody_holds_is_not_tried_again_at_once() -> None:
    """To wait once more would hold up everybody else as long again."""
    assert not collided(said("55P03"))
    assert type(translation(said("55P03"))) is BlockedError


@pytest.mark.parametrize("code", ["22021", "22P05"])
def test_text_that_cannot_be_stored_is_the_input_s_fault(code: str) -> None:
    """It would not be stored the next time either."""
    assert type(translation(said(code))) is InvalidInputError


@pytest.mark.parametrize("code", ["42P01", "23505", "22012"])
def test_our_own_faults_stay_as_they_are(code: str) -> None:
    """They are neither the server's trouble nor a collision: nobody is told to try again."""
    error = said(code)
    assert translation(error) is error
    assert not collided(error)


@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
def test_after_worse_than_an_error_the_connection_is_gone(severity: str) -> None:
    """The server closes it; of a statement that was on its way nobody knows the end."""
    assert lost(said("57P01", severity))
    assert not lost(said("57014"))
