"""URLs of PostgreSQL."""

import pytest

from tellwire.errors import SettingsError
from tellwire.store.postgres_connections import name_of


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u:p@db.example/tellwire", "tellwire on db.example"),
        ("postgresql://u:p%2C@db.example:5433/tellwire?sslmode=require", "tellwire on db.example:5433"),
        ("postgresql://u:a,b@db.example/tellwire", "tellwire on db.example"),
        (
            "postgresql://u:p@one.example,two.example/tellwire?target_session_attrs=read-write",
            "tellwire on one.example and others",
        ),
        (
            "postgresql://u:p@one.example:5432,two.example:5433,three/tellwire",
            "tellwire on one.example and others",
        ),
        ("postgresql://db.example", "postgres on db.example"),
        ("postgresql:///tellwire?host=/run/postgresql", "tellwire on /run/postgresql"),
        ("postgresql:///tellwire", "tellwire"),
    ],
)
def test_a_url_names_its_database(url: str, name: str) -> None:
    """With its host, or with the first of several, as failover needs them."""
    assert name_of(url) == name


def test_a_url_that_cannot_be_read_is_refused_without_its_password() -> None:
    """The message says how a URL looks, and repeats nothing of it."""
    with pytest.raises(SettingsError) as caught:
        name_of("postgresql://user:pass@host:not-a-port/db")
    assert "pass@" not in str(caught.value)
